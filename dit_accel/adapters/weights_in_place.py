"""An adapter's changes of a transformer's own weights, put on and taken off.

The parameter *objects* are exchanged, never their values: other pipelines may share them, and
taking them off gives back the very tensors that were there.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from dit_accel.errors import UnsupportedError

if TYPE_CHECKING:
    from dit_accel.adapters.adapter import Adapter

Place = tuple[weakref.ref[nn.Module], str]
_ATTENTION = (".to_q.", ".to_k.", ".to_v.")


class WeightsInPlace:
    """The parameters that one adapter replaces in one transformer.

    Args:
        transformer: that they belong to.
        adapter: that fits it (`Adapter.check`).

    Raises:
        UnsupportedError: replaced weights would not be used: they are offloaded, or fused.
    """

    def __init__(self, transformer: nn.Module, adapter: Adapter) -> None:
        places = parameter_places(transformer)
        self._adapter = adapter
        # Weak: this belongs to an installation, which must not keep its transformer alive.
        self._places = {name: places[name] for name in adapter.changed_weights}
        self._away: dict[str, nn.Parameter] = {}
        for name in self._places:
            _refuse_unused(transformer, name, self._parameter(name))

    def put_on(self) -> None:
        """Replace them."""
        with torch.no_grad():
            for name in self._places:
                own = self._parameter(name)
                self._away[name] = own
                value = self._adapter.changed(name, own)
                self._set(name, nn.Parameter(value, requires_grad=own.requires_grad))

    def take_off(self) -> None:
        """Give the transformer its own back, where (and in which type) it is by now."""
        while self._away:
            name, own = self._away.popitem()
            present = self._parameter(name)
            if present is None:
                continue  # the transformer is gone
            if (present.device, present.dtype) != (own.device, own.dtype):
                own.data = own.data.to(present.device, present.dtype)
            self._set(name, own)

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """The transformer with its own weights, for the length of a `with` block."""
        present = {name: self._parameter(name) for name in self._away}
        for name, own in self._away.items():
            self._set(name, own)
        try:
            yield
        finally:
            for name, parameter in present.items():
                self._set(name, parameter)

    def _parameter(self, name: str) -> nn.Parameter:
        module, leaf = self._places[name][0]
        found: nn.Parameter = getattr(module(), leaf, None)  # type: ignore[assignment]
        return found

    def _set(self, name: str, parameter: nn.Parameter) -> None:
        for reference, leaf in self._places[name]:
            module = reference()
            if module is not None:
                module._parameters[leaf] = parameter


def parameter_places(transformer: nn.Module) -> dict[str, list[Place]]:
    """Where each parameter is, by its name in the model as it was loaded; tied ones several times.

    Layers that peft has wrapped (`base_layer`) keep their names, and its own are left out.
    """
    places: dict[int, list[Place]] = defaultdict(list)
    names: dict[str, int] = {}
    for prefix, module in transformer.named_modules():
        for leaf, parameter in module._parameters.items():
            if parameter is None or "lora_" in prefix:
                continue
            name = f"{prefix}.{leaf}".lstrip(".").replace(".base_layer.", ".")
            places[id(parameter)].append((weakref.ref(module), leaf))
            names[name] = id(parameter)
    return {name: places[key] for name, key in names.items()}


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
