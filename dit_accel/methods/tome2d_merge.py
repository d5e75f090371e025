"""Token merging on a 2-D grid: ToMe for Stable Diffusion (arXiv 2303.17604), for DiTs.

The input of a module is merged, its output unmerged before the residual add, so that the residual
stream stays at full resolution (naive merging without unmerging destroys DiTs). Destinations, one a
`stride` window, are drawn from (plan seed, layer, step) and are the same for all samples; each row
matches its own tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt, model_validator

from dit_accel.errors import PlanError, Problem, mismatch
from dit_accel.methods.cell import Cell
from dit_accel.methods.config import MethodConfig
from dit_accel.methods.registry import register
from dit_accel.schedule import Schedule, within
from dit_accel.span import Span
from dit_accel.tokens.grid import Grid
from dit_accel.tokens.match import (
    Destinations,
    Matching,
    draw_destinations,
    match_bipartite,
    mix_seed,
)
from dit_accel.tokens.merge import merge, unmerge

# Merged tokens come in 32nds of the grid, so that a scheduled ratio makes few distinct shapes.
GRANULARITY = 32


@dataclass
class MergeMemory:
    """What is kept between the layers and steps that share one matching."""

    renew: bool = True
    step: int | None = None
    destinations: Destinations | None = None
    matching: Matching | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Tome2d:
    """Merges `num_merged` tokens of `grid` into their destinations."""

    grid: Grid
    num_merged: int
    stride: tuple[int, int]
    reuse_steps: int

    def memory(self) -> MergeMemory:
        """Fresh memory for the layers and steps that will share a matching."""
        return MergeMemory()

    def prepare(self, memory: MergeMemory, seed: int, cell: Cell) -> None:
        """Draw new destinations when those in `memory` are `reuse_steps` old (or missing)."""
        if memory.step is None or cell.step - memory.step >= self.reuse_steps:
            drawn = mix_seed(seed, cell.layer, cell.step)
            memory.destinations = draw_destinations(self.grid, self.stride, drawn)
            memory.step, memory.renew = cell.step, True

    def reduce(self, hidden_states: torch.Tensor, memory: MergeMemory) -> torch.Tensor:
        """Size-weighted means, `[B, N, C] -> [B, N - num_merged, C]`."""
        if memory.renew:
            assert memory.destinations is not None
            destinations = memory.destinations.to(hidden_states.device)
            memory.matching = match_bipartite(hidden_states, destinations, self.num_merged)
            memory.renew, memory.destinations = False, None
        assert memory.matching is not None
        return merge(hidden_states, memory.matching)

    def expand(self, hidden_states: torch.Tensor, memory: MergeMemory) -> torch.Tensor:
        """Every token takes the value of what it was merged into, `[B, M, C] -> [B, N, C]`."""
        assert memory.matching is not None
        return unmerge(hidden_states, memory.matching)

    def __str__(self) -> str:
        return f"merge {self.num_merged}"


@register("merge", kind="tome2d")
class Tome2dMerge(MethodConfig):
    """`merge: {kind: tome2d, ratio: 0.4, at: [attention], layers: [0.2, 0.8]}`.

    Args:
        ratio: share of the tokens that is merged away, 0 (dense) to `1 - 1/(stride area)`; rounded
            to 32nds of the grid. May follow a schedule; quality asks for less of it late.
        at: modules whose input is merged. `feed_forward` saves more and costs more quality.
        layers: half-open range of blocks. Leave the first ones dense.
        steps: half-open range of steps.
        stride: window `[height, width]` that holds one destination.
        reuse_layers: so many consecutive layers share one matching.
        reuse_steps: a matching is kept for so many steps.
    """

    removes_tokens: ClassVar[bool] = True
    kind: Literal["tome2d"] = "tome2d"
    ratio: Annotated[Schedule, within(0)] = Schedule.constant(0.5)
    at: tuple[Literal["attention", "feed_forward"], ...] = Field(("attention",), min_length=1)
    layers: Span = Span(0.0, 1.0)
    steps: Span = Span(0.0, 1.0)
    stride: tuple[PositiveInt, PositiveInt] = (2, 2)
    reuse_layers: PositiveInt = 1
    reuse_steps: PositiveInt = 1

    @model_validator(mode="after")
    def _check_ratio(self) -> Tome2dMerge:
        height, width = self.stride
        most = 1 - 1 / (height * width)
        if self.ratio.values_range()[1] > most:
            problem = mismatch(
                self.ratio.dump(),
                f"at most {most:.3g}, since one token in each {height}x{width} window stays",
                "lower it, or widen `stride`",
            )
            raise PlanError(Problem("ratio", problem))
        return self

    def operator(self, cell: Cell) -> Tome2d | None:
        """The merge of this cell; `None` where nothing is merged."""
        if not cell.within(self.layers, self.steps):
            return None
        step = max(1, cell.grid.size // GRANULARITY)
        num_merged = round(self.ratio.scalar(cell.fraction) * cell.grid.size / step) * step
        return Tome2d(cell.grid, num_merged, self.stride, self.reuse_steps) if num_merged else None

    def group(self, cell: Cell) -> int:
        """Layers of one group share a matching."""
        first = self.layers.resolve(cell.num_layers, "layers").start
        return (cell.layer - first) // self.reuse_layers
