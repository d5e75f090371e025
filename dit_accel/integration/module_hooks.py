"""Hooks of the caches inside the blocks, around everything else that acts on their modules.

They are attached last, so that a forecast leaves out the merging, the attention operator and the
exact rewrites of its module too, and a computed step remembers what all of them made together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from diffusers.hooks import ModelHook
from torch import nn

from dit_accel.backbones import Backbone
from dit_accel.errors import UnsupportedError
from dit_accel.integration.attach import CACHE_HOOK_NAME, attach
from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.choosers.chooser import TokenChooser
from dit_accel.methods.caching.module_run import ModuleCell, ModuleRun
from dit_accel.methods.caching.policies.token_policy import TokenPolicy
from dit_accel.methods.caching.sites.site import ModuleName
from dit_accel.methods.caching.token_run import TokenRun

InnerRun: TypeAlias = ModuleRun | TokenRun

Key = tuple[int, ModuleName, int]
"""Cache of the plan, module, layer."""


class ModuleHook(ModelHook):
    """Computes or forecasts the output of one module.

    Attributes:
        cell: what is remembered, `None` before a run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cell: ModuleCell | None = None

    def new_forward(
        self, module: nn.Module, hidden_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """`[R, N, C] -> [R, N, C]`."""
        forward: Callable[..., torch.Tensor] = self.fn_ref.original_forward
        if self.cell is None:
            return forward(hidden_states, *args, **kwargs)
        return self.cell(lambda tokens: forward(tokens, *args, **kwargs), hidden_states)


class ValuesHook(ModelHook):
    """Shows the value vectors of a self-attention to the policy that chooses tokens.

    Attributes:
        chooser: of this layer, `None` before a run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.chooser: TokenChooser | None = None

    def post_forward(self, module: nn.Module, output: torch.Tensor) -> torch.Tensor:
        """`[r, N, C]`, unchanged."""
        if self.chooser is not None:
            self.chooser.note(output)
        return output


class ModuleHooks:
    """Those of all caches of a plan, on one transformer.

    Raises:
        UnsupportedError: a cache remembers modules that no block of this model has.
    """

    def __init__(
        self, blocks: Sequence[nn.Module], backbone: Backbone, caches: Sequence[CacheConfig]
    ) -> None:
        self._blocks, self._attention = blocks, backbone.self_attention
        self._hooks: dict[Key, ModuleHook] = {}
        self._values: dict[tuple[int, int], ValuesHook] = {}
        for index, cache in enumerate(caches):
            found = list(modules_of(cache, blocks, backbone))
            if cache.site.modules and not found:
                raise UnsupportedError(_missing(cache))
            for name, layer, module in found:
                hook = self._hooks[index, name, layer] = ModuleHook()
                attach(module, hook, CACHE_HOOK_NAME)
                if name == "attention" and _reads_values(cache):
                    values = self._values[index, layer] = ValuesHook()
                    attach(module.get_submodule("to_v"), values, CACHE_HOOK_NAME)

    def arm(self, runs: Mapping[int, InnerRun]) -> None:
        """Let the hooks follow these run states, by cache of the plan."""
        for (index, layer), values in self._values.items():
            run = runs.get(index)
            values.chooser = run.choosers[layer] if isinstance(run, TokenRun) else None
            if values.chooser is not None:
                _refuse_fused(self._attention(self._blocks[layer]))
        for (index, name, layer), hook in self._hooks.items():
            hook.cell = runs[index].cells[name, layer] if index in runs else None
            if hook.cell is not None and name == "feed_forward":
                _refuse_chunks(self._blocks[layer])


def modules_of(
    cache: CacheConfig, blocks: Sequence[nn.Module], backbone: Backbone
) -> Iterator[tuple[ModuleName, int, nn.Module]]:
    """The modules whose outputs a cache remembers, of those that the blocks have."""
    for layer in cache.site.module_layers(len(blocks)):
        for name in cache.site.modules:
            module = _module(name, blocks[layer], backbone)
            if module is not None:
                yield name, layer, module


def present_modules(
    cache: CacheConfig, block: nn.Module, backbone: Backbone
) -> tuple[ModuleName, ...]:
    """The modules of a cache's site that a block has."""
    names = cache.site.modules
    return tuple(name for name in names if _module(name, block, backbone) is not None)


def _module(name: ModuleName, block: nn.Module, backbone: Backbone) -> nn.Module | None:
    if name == "attention":
        return backbone.self_attention(block)
    return (
        backbone.feed_forward(block) if name == "feed_forward" else backbone.cross_attention(block)
    )


def _reads_values(cache: CacheConfig) -> bool:
    return isinstance(cache.policy, TokenPolicy) and cache.policy.reads == "values"


def _refuse_fused(attention: Any) -> None:
    """There is no projection of the values by itself."""
    if getattr(attention, "fused_projections", False):
        raise UnsupportedError(
            "cache.policy: it scores tokens by their value vectors, but q, k and v are fused in"
            " this model; call transformer.unfuse_qkv_projections() first"
        )


def _missing(cache: CacheConfig) -> str:
    return (
        f"cache.site: the blocks of this model have no {cache.site.method}, because it is told its"
        " class by the modulations alone; use site attention or feed_forward"
    )


def _refuse_chunks(block: Any) -> None:
    """Each chunk would pass for the whole."""
    if getattr(block, "_chunk_size", None) is not None:
        raise UnsupportedError(
            "cache.site: this model runs its feed-forward in chunks, expected whole; call"
            " block.set_chunk_feed_forward(None, 0) on its blocks, or use site deep or model"
        )
