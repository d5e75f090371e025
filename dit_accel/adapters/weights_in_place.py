"""An adapter's changes of a transformer's own weights, put on and taken off.

The parameter *objects* are exchanged, never their values: other pipelines may share them, and
taking them off gives back the very tensors that were there. Until then these wait in a note on the
transformer itself: a deep copy brings it along, and so has stock weights to go back to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from dit_accel.errors import UnsupportedError

if TYPE_CHECKING:
    from dit_accel.adapters.adapter import Adapter

Places = list[tuple[nn.Module, str]]
_NOTE = "_dit_accel_own_weights"
_ATTENTION = (".to_q.", ".to_k.", ".to_v.")


def put_on(transformer: nn.Module, adapter: Adapter) -> None:
    """Replace the parameters that an adapter changes.

    Args:
        transformer: that they belong to; with its own weights.
        adapter: that fits it (`Adapter.check`).

    Raises:
        UnsupportedError: replaced weights would not be used: they are offloaded, or fused.
    """
    places = parameter_places(transformer)
    changed = {name: _parameter(places[name]) for name in adapter.changed_weights}
    for name, own in changed.items():
        _refuse_unused(transformer, name, own)
    noted = vars(transformer)[_NOTE] = dict[str, nn.Parameter]()
    with torch.no_grad():
        for name, own in changed.items():
            noted[name] = own
            value = adapter.changed(name, own)
            _set(places[name], nn.Parameter(value, requires_grad=own.requires_grad))


def take_off(transformer: nn.Module) -> None:
    """Give a transformer, or a deep copy of one, its own weights back; nothing where it has them.

    They come to where their replacements are by now, and in their type.
    """
    for places, own in _noted(transformer):
        present = _parameter(places)
        if (present.device, present.dtype) != (own.device, own.dtype):
            own.data = own.data.to(present.device, present.dtype)
        _set(places, own)
    vars(transformer).pop(_NOTE, None)


@contextmanager
def lifted(transformer: nn.Module) -> Iterator[None]:
    """A transformer with its own weights, for the length of a `with` block."""
    noted = _noted(transformer)
    present = [_parameter(places) for places, _ in noted]
    for places, own in noted:
        _set(places, own)
    try:
        yield
    finally:
        for (places, _), parameter in zip(noted, present, strict=True):
            _set(places, parameter)


def parameter_places(transformer: nn.Module) -> dict[str, Places]:
    """Where each parameter is, by its name in the model as it was loaded; tied ones several times.

    Layers that peft has wrapped (`base_layer`) keep their names, and its own are left out.
    """
    places: dict[int, Places] = defaultdict(list)
    names: dict[str, int] = {}
    for prefix, module in transformer.named_modules():
        for leaf, parameter in module._parameters.items():
            if parameter is None or "lora_" in prefix:
                continue
            name = f"{prefix}.{leaf}".lstrip(".").replace(".base_layer.", ".")
            places[id(parameter)].append((module, leaf))
            names[name] = id(parameter)
    return {name: places[key] for name, key in names.items()}


def _noted(transformer: nn.Module) -> list[tuple[Places, nn.Parameter]]:
    """The parameters that wait, each with its places; somebody may have removed a layer."""
    away: dict[str, nn.Parameter] = vars(transformer).get(_NOTE, {})
    places = parameter_places(transformer) if away else {}
    return [(places[name], own) for name, own in away.items() if name in places]


def _parameter(places: Places) -> nn.Parameter:
    module, leaf = places[0]
    found: nn.Parameter = getattr(module, leaf)
    return found


def _set(places: Places, parameter: nn.Parameter) -> None:
    for module, leaf in places:
        module._parameters[leaf] = parameter


def _refuse_unused(transformer: nn.Module, name: str, parameter: nn.Parameter) -> None:
    """Weights that the forward takes from somewhere else can't be replaced here."""
    whole_model_is_meta = all(each.is_meta for each in transformer.parameters())
    if parameter.is_meta and not whole_model_is_meta:
        raise UnsupportedError(
            f"adapter: {name} is offloaded, so that its weights can't be replaced; accelerate"
            " first, then enable_sequential_cpu_offload"
        )
    if not any(mark in f".{name}" for mark in _ATTENTION):
        return
    attention = transformer.get_submodule(name.rpartition(".to_")[0])
    if getattr(attention, "fused_projections", False):
        raise UnsupportedError(
            f"adapter: it changes {name}, but q, k and v are fused in this model; call"
            " transformer.unfuse_qkv_projections() first"
        )
