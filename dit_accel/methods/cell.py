"""One cell of a run: a transformer layer at a denoising step.

A method's config turns a `Cell` into an *operator* (or `None` where it has nothing to do).
Operators are small frozen objects, so that equal cells compare equal: `torch.compile` guards on
their values and compiles each distinct cell once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from dit_accel.span import Span
from dit_accel.tokens.grid import Grid

Forward = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Cell:
    """Where a method is asked what to do.

    `num_steps` is `None` for a bare transformer whose run has no known length; `fraction` (0 at the
    first step, 1 at the last) is known always. `grid` is the token grid that reaches this cell.
    """

    layer: int
    num_layers: int
    step: int
    num_steps: int | None
    fraction: float
    grid: Grid

    def within(self, layers: Span, steps: Span) -> bool:
        """Whether this cell lies in the half-open ranges `layers` x `steps`."""
        return self.layer in layers.resolve(self.num_layers, "layers") and self._in_steps(steps)

    def _in_steps(self, steps: Span) -> bool:
        if self.num_steps is not None:
            return self.step in steps.resolve(self.num_steps, "steps")
        if not steps.fractional:
            return steps.start <= self.step < steps.stop
        return steps.start <= self.fraction < steps.stop or self.fraction == steps.stop == 1.0


class DensityOperator(Protocol):
    """Takes a block to fewer tokens."""

    @property
    def grid(self) -> Grid:
        """The coarse token grid."""


class BlockDensity(DensityOperator, Protocol):
    """Does so by itself: the residual stream stays at full resolution between blocks."""

    def __call__(self, block: Forward, hidden_states: torch.Tensor) -> torch.Tensor:
        """`[B, N, C] -> [B, N, C]`."""


class MergeOperator(Protocol):
    """Merges tokens before a module and unmerges its output."""

    def memory(self) -> Any:
        """Fresh memory for the layers and steps that will share a matching."""

    def prepare(self, memory: Any, seed: int, cell: Cell) -> None:
        """Outside of any compiled region, before a forward that computes this cell."""

    def reduce(self, hidden_states: torch.Tensor, memory: Any) -> torch.Tensor:
        """`[B, N, C] -> [B, M, C]`."""

    def expand(self, hidden_states: torch.Tensor, memory: Any) -> torch.Tensor:
        """`[B, M, C] -> [B, N, C]`."""


class MergeMethod(Protocol):
    """The config of a merge method."""

    @property
    def at(self) -> tuple[str, ...]:
        """Modules whose input is merged: `attention`, `feed_forward`."""

    def operator(self, cell: Cell) -> MergeOperator | None:
        """What it does in `cell`; `None` where nothing is merged."""

    def group(self, cell: Cell) -> int:
        """Layers of one group share their memory."""


class AttentionOperator(Protocol):
    """Chooses what self-attention attends to."""

    def keys_values(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Tokens that keys and values are projected from, `[B, N, C] -> [B, M, C]`."""


@dataclass(frozen=True)
class Operators:
    """What all methods of a plan do in one cell, in the order in which they nest."""

    density: DensityOperator | None = None
    merge_attention: MergeOperator | None = None
    attention: AttentionOperator | None = None
    merge_feed_forward: MergeOperator | None = None

    @property
    def hands_tokens(self) -> bool:
        """Whether density hands the self-attention other tokens than the block's own."""
        return bool(getattr(self.density, "replaces_attention", False))

    def labels(self) -> tuple[str, ...]:
        """One short text an active operator, as shown by `explain`."""
        active = (self.density, self.merge_attention, self.attention, self.merge_feed_forward)
        return tuple(dict.fromkeys(str(operator) for operator in active if operator is not None))


NOTHING = Operators()
