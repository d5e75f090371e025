"""diffusers' cache hooks on models that its public API leaves out.

Neither `DiTTransformer2DModel` nor `PixArtTransformer2DModel` has `CacheMixin`, and their pipelines
open no cache context, so that `enable_cache` does not exist and `apply_…_cache` alone fails at the
first forward ("No cache context is set"). What the mixin does is done here: the state of the run
before is dropped, and one context is set. One is right: both guidance rows are in the same call.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from diffusers.hooks import HookRegistry
from diffusers.hooks.hooks import CacheContext, StateManager, _set_cache_context
from torch import nn

from dit_accel.evaluation.peers.peer import tensor_bytes


class DiffusersHooks:
    """Hooks of diffusers at work on one transformer.

    Args:
        transformer: with all of its hooks in place.
    """

    def __init__(self, transformer: nn.Module) -> None:
        self._transformer = transformer

    def begin(self) -> None:
        """What a pipeline with `cache_context` does between runs."""
        HookRegistry.check_if_exists_or_initialize(self._transformer).reset_stateful_hooks()
        _set_cache_context(self._transformer, CacheContext("run"))

    @property
    def nbytes(self) -> int:
        """Bytes of the states, those that serve decisions included."""
        states = [state for manager in self._managers() for state in manager._state_cache.values()]
        return tensor_bytes(vars(state) for state in states)

    def _managers(self) -> Iterator[Any]:
        for module in self._transformer.modules():
            registry = getattr(module, "_diffusers_hook", None)
            for hook in () if registry is None else registry.hooks.values():
                yield from (part for part in vars(hook).values() if isinstance(part, StateManager))
