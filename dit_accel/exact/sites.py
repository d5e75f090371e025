"""Modules that a rewrite takes the work of, and how it tells that somebody else changed them.

A rewrite keeps results of stock layers. Adapters (LoRA), quantised layers and hooks of others do
more than the stock layer, so where one of them is found the rewrite stands aside.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from torch import nn

from dit_accel.integration.attach import HOOK_NAMES

WeightState: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Site:
    """The submodule `name` of `parent`, as it was when the plan came."""

    # Weak: a plan must not keep its transformer alive, whose head is such a submodule.
    parent: weakref.ref[nn.Module]
    name: str
    module: nn.Module

    @classmethod
    def of(cls, parent: nn.Module, name: str) -> Site:
        """The site of the module that is in place now."""
        module: nn.Module = getattr(parent, name)
        return cls(weakref.ref(parent), name, module)

    @property
    def in_place(self) -> bool:
        """Whether the module is still there: adapters put themselves around it."""
        parent = self.parent()
        return parent is not None and parent._modules.get(self.name) is self.module

    @property
    def is_stock(self) -> bool:
        """Whether the module and all inside it compute what torch and diffusers say, no more."""
        return all(_is_stock(part) for part in self.module.modules())


def _is_stock(module: nn.Module) -> bool:
    if type(module).__module__.partition(".")[0] not in ("torch", "diffusers"):
        return False
    if hasattr(module, "parametrizations") or module._forward_hooks or module._forward_pre_hooks:
        return False
    registry = getattr(module, "_diffusers_hook", None)
    if registry is not None and not set(registry.hooks) <= set(HOOK_NAMES):
        return False
    # Quantised weights are tensors of a class of their own.
    return all(type(parameter) is nn.Parameter for parameter in module.parameters(recurse=False))


class Weights:
    """The parameters of some modules: tells whether they changed since they were marked."""

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        parts = [part for module in modules for part in module.modules()]
        # Looked up by name each time: offloading puts new parameters in.
        self._owners = [(part._parameters, name) for part in parts for name in part._parameters]
        self._marked: WeightState | None = None

    def changed(self) -> bool:
        """Whether they are not those of the last call; true the first time."""
        state = tuple(
            (parameter.data_ptr(), 0 if parameter.is_inference() else parameter._version)
            for owner, name in self._owners
            if (parameter := owner[name]) is not None
        )
        former, self._marked = self._marked, state
        return state != former
