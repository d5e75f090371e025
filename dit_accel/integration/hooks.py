"""The diffusers hooks that make a plan act: one on the model, one a block, one a module inside.

The hook on the model prepares everything outside of any compiled region; the others only follow
what it has set, so that `torch.compile` sees plain tensor code with few distinct values to guard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers.hooks import ModelHook
from torch import nn

from dit_accel.errors import UnsupportedError
from dit_accel.integration.calls import NamedArgumentsHook, output_of
from dit_accel.integration.looks import Look
from dit_accel.methods.caching.cache_run import CacheRun
from dit_accel.methods.caching.guidance_run import GuidanceRun
from dit_accel.methods.caching.output_run import OutputRun, empty_output
from dit_accel.methods.caching.ring import Ring
from dit_accel.methods.cell import AttentionOperator, BlockDensity, MergeOperator

Begin = Callable[[nn.Module, dict[str, Any]], dict[str, Any]]
Forward = Callable[..., torch.Tensor]


class TransformerHook(NamedArgumentsHook):
    """Tells the installation that a forward begins, which may replace arguments of it.

    Attributes:
        guidance: run state of a cache of the guidance difference, where one is at work.
        output: run state of a cache of the whole output, where one is at work.
        watcher: run state of a cache whose policy looks at the output.
    """

    def __init__(self, begin: Begin) -> None:
        super().__init__()
        self.guidance: GuidanceRun | None = None
        self.output: OutputRun | None = None
        self.watcher: CacheRun | None = None
        self._begin = begin

    def pre_forward(
        self, module: nn.Module, *args: Any, **kwargs: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Prepare; the arguments that are not replaced go on as they came."""
        replaced = self._prepare(module, args, kwargs)
        if not replaced:
            return args, kwargs
        return (), {**self.named(args, kwargs), **replaced}

    def new_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """The transformer itself, unless the whole step is left out."""
        if self.output is None or self.output.mode == "all":
            return self.fn_ref.original_forward(*args, **kwargs)
        arguments = self.named(args, kwargs)
        return empty_output(module, arguments, self.output.num_rows)

    def post_forward(self, module: nn.Module, output: Any) -> Any:
        """Complete what guidance left out, put fitted outputs in place, and show the output."""
        skipped = self.output is not None and self.output.mode == "none"
        if self.guidance is not None and not skipped:
            output = self.guidance.complete_output(output)
        if self.output is not None:
            output = self.output.complete_output(output)
        if self.watcher is not None:
            self.watcher.completed(output_of(output))
        return output

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _prepare(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        return self._begin(module, self.named(args, kwargs))


class BlockHook(NamedArgumentsHook):
    """Cache, then density, around one block.

    Attributes:
        cache: run state of the cache of this block, `None` where it is always computed.
        probe: run state of the cache that looks at what happens from here, the first block, on.
        look: what a policy does as this, the first block, is entered.
        ring: what is remembered of the span this block lies in.
        opens, closes: whether it is the first, the last block of its span.
        decides: whether the cache decides here, on the output of the block before.
        density: pooled block, if any.
    """

    taken = 1

    def __init__(self, row_arguments: tuple[str, ...]) -> None:
        super().__init__()
        self.cache: CacheRun | None = None
        self.probe: CacheRun | None = None
        self.look: Look | None = None
        self.ring: Ring | None = None
        self.opens = self.closes = self.decides = False
        self.density: BlockDensity | None = None
        self._row_arguments = row_arguments

    def new_forward(
        self, module: nn.Module, hidden_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """`[R, N, C] -> [R, N, C]`; inside a span fewer rows may pass."""
        if args:  # gradient checkpointing hands everything over by position
            kwargs = self.named(args, kwargs)
        if self.probe is not None:
            self.probe.first_input = hidden_states
        if self.look is not None:
            self.look(module, hidden_states, kwargs)
        cache = self.cache
        if cache is None:
            return self.compute(hidden_states, kwargs)
        if self.decides:
            cache.decide(hidden_states)
        return self._follow(cache, hidden_states, kwargs)

    def _follow(
        self, cache: CacheRun, hidden_states: torch.Tensor, kwargs: dict[str, Any]
    ) -> torch.Tensor:
        ring = self.ring
        assert ring is not None
        if cache.mode == "none":
            # A view, since dynamo gives up on a frame for good once it finds it empty.
            return (
                cache.forecast(ring, hidden_states)
                if self.opens
                else hidden_states.view_as(hidden_states)
            )
        if self.opens:
            hidden_states = cache.open_span(ring, hidden_states)
        kwargs = cache.select(kwargs, self._row_arguments)
        hidden_states = self.compute(hidden_states, kwargs)
        return cache.close_span(ring, hidden_states) if self.closes else hidden_states

    def compute(self, hidden_states: torch.Tensor, kwargs: dict[str, Any]) -> torch.Tensor:
        """The block itself, on pooled tokens where the plan says so."""
        forward: Forward = self.fn_ref.original_forward
        if self.density is None:
            return forward(hidden_states, **kwargs)
        refuse_mask(kwargs.get("attention_mask"), "density")
        return self.density(lambda tokens: forward(tokens, **kwargs), hidden_states)


class AttentionHook(ModelHook):
    """Merge, attention operator, unmerge around one self-attention."""

    def __init__(self) -> None:
        super().__init__()
        self.merge: MergeOperator | None = None
        self.memory: Any = None
        self.operator: AttentionOperator | None = None

    def new_forward(
        self,
        module: nn.Module,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """`[R, N, C] -> [R, N, C]`."""
        forward: Forward = self.fn_ref.original_forward
        if self.merge is None and self.operator is None:
            return forward(hidden_states, encoder_hidden_states=encoder_hidden_states, **kwargs)
        refuse_mask(kwargs.get("attention_mask"), "merge / attention")
        if self.operator is not None:
            refuse_fused(module)
            encoder_hidden_states = self.operator.keys_values(hidden_states)
        if self.merge is None:
            return forward(hidden_states, encoder_hidden_states=encoder_hidden_states, **kwargs)
        merged = self.merge.reduce(hidden_states, self.memory)
        output = forward(merged, encoder_hidden_states=encoder_hidden_states, **kwargs)
        return self.merge.expand(output, self.memory)


class FeedForwardHook(ModelHook):
    """Merge, feed-forward, unmerge."""

    def __init__(self) -> None:
        super().__init__()
        self.merge: MergeOperator | None = None
        self.memory: Any = None

    def new_forward(
        self, module: nn.Module, hidden_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """`[R, N, C] -> [R, N, C]`."""
        forward: Forward = self.fn_ref.original_forward
        if self.merge is None:
            return forward(hidden_states, *args, **kwargs)
        merged = self.merge.reduce(hidden_states, self.memory)
        return self.merge.expand(forward(merged, *args, **kwargs), self.memory)


def refuse_mask(mask: torch.Tensor | None, family: str) -> None:
    """Self-attention masks speak of tokens that pooling and merging take away."""
    if mask is not None:
        raise UnsupportedError(
            f"attention_mask: a mask over the image tokens, shape {tuple(mask.shape)}, can't be"
            f" combined with {family}; pass attention_mask=None or remove {family} from the plan"
        )


def refuse_fused(module: nn.Module) -> None:
    """A fused q/k/v projection has no separate one for the pooled tokens."""
    if getattr(module, "fused_projections", False):
        raise UnsupportedError(
            "attention: the plan pools keys and values, but q, k and v are fused in this model;"
            " call transformer.unfuse_qkv_projections() first"
        )
