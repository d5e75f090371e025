"""An adapter's changes of a transformer's own weights: put on, exchanged step by step, taken off.

The parameter *objects* are exchanged, never their values: other pipelines may share them, and
taking them off gives back the very tensors that were there. Whichever are not in place wait in a
note on the transformer itself: a deep copy brings it along, and so has stock weights to go back to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from dit_accel.errors import UnsupportedError

if TYPE_CHECKING:
    from dit_accel.adapters.adapter import Adapter

Places = list[tuple[nn.Module, str]]
_NOTE = "_dit_accel_own_weights"
_ATTENTION = (".to_q.", ".to_k.", ".to_v.")


@dataclass
class _Note:
    """The parameters that wait, by name, and whether those in place are the adapter's."""

    waiting: dict[str, nn.Parameter]
    adapted: bool


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
    note = vars(transformer)[_NOTE] = _Note({}, adapted=True)
    with torch.no_grad():
        for name, own in changed.items():
            note.waiting[name] = own
            value = adapter.changed(name, own)
            _set(places[name], nn.Parameter(value, requires_grad=own.requires_grad))


def wear(transformer: nn.Module, adapted: bool) -> None:
    """Compute with the adapter's weights from here on, or with the model's own; both are kept.

    Raises:
        UnsupportedError: those in place are offloaded module by module, and can't be exchanged.
    """
    note = _note(transformer)
    if note is not None and note.adapted != adapted:
        _exchange(transformer, note)


def take_off(transformer: nn.Module) -> None:
    """Give a transformer, or a deep copy of one, its own weights back; nothing where it has them.

    They come to where their replacements are by now, and in their type.
    """
    note = _note(transformer)
    if note is not None and note.adapted:
        _exchange(transformer, note, refuse=False)
    vars(transformer).pop(_NOTE, None)


@contextmanager
def lifted(transformer: nn.Module) -> Iterator[None]:
    """A transformer with its own weights, for the length of a `with` block."""
    note = _note(transformer)
    if note is None or not note.adapted:
        yield
        return
    _exchange(transformer, note, refuse=False)
    try:
        yield
    finally:
        _exchange(transformer, note, refuse=False)


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


def _note(transformer: nn.Module) -> _Note | None:
    note: _Note | None = vars(transformer).get(_NOTE)
    return note


def _exchange(transformer: nn.Module, note: _Note, refuse: bool = True) -> None:
    """Those in place wait, those that waited are in place: where the former were, in their type."""
    places = parameter_places(transformer) if note.waiting else {}
    for name in list(note.waiting):
        if name not in places:  # somebody has removed a layer
            continue
        present, waiting = _parameter(places[name]), note.waiting[name]
        if refuse and present.is_meta and not waiting.is_meta:
            raise UnsupportedError(
                f"adapter: {name} is offloaded layer by layer, but this plan leaves steps dense, at"
                " which the model's own weights compute; use enable_model_cpu_offload"
            )
        if not present.is_meta and _kind(present) != _kind(waiting):
            waiting.data = waiting.data.to(present.device, present.dtype)
        _set(places[name], waiting)
        note.waiting[name] = present
    note.adapted = not note.adapted


def _kind(parameter: nn.Parameter) -> tuple[torch.device, torch.dtype]:
    return parameter.device, parameter.dtype


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
