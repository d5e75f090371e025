"""Training-free pooled blocks: a block runs on a coarse token grid and contributes its *change*.

`x <- x + U(block(Wx) - Wx)` with `W` the mean over the cells of a partition of the grid and `U` the
nearest-neighbour copy back. The delta form (after FlexDiT / SparseDiT, arXiv 2412.06028) keeps the
detail `x - UWx` of the residual stream untouched; it is exact on constant maps and bit-identical to
the dense block at full resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import model_validator

from dit_accel.methods.cell import Cell, Forward
from dit_accel.methods.config import MethodConfig
from dit_accel.methods.registry import register
from dit_accel.schedule import Schedule, within
from dit_accel.span import Span
from dit_accel.tokens.grid import Grid
from dit_accel.tokens.pool import pool, unpool


@dataclass(frozen=True)
class PooledBlock:
    """A block on `pooled` tokens inside a residual stream on `full` tokens."""

    full: Grid
    grid: Grid

    def __call__(self, block: Forward, hidden_states: torch.Tensor) -> torch.Tensor:
        """Equation above, `[B, N, C] -> [B, N, C]`."""
        coarse = pool(hidden_states, self.full, self.grid)
        return hidden_states + unpool(block(coarse) - coarse, self.full, self.grid)

    def __str__(self) -> str:
        return f"pool {self.grid.height}x{self.grid.width}"


@register("density", kind="pooled")
class PooledDensity(MethodConfig):
    """`density: {kind: pooled, pool: 2, layers: [0.2, 0.8], steps: [0.0, 0.5]}`.

    Exactly one of `pool` and `grid` is given; both may follow a schedule over the steps.

    Args:
        pool: side of a cell in tokens, at least 1 (1 is dense). 2 keeps a quarter of the tokens.
        grid: tokens as `[height, width]`, at most the model's own grid (larger values mean dense).
        layers: half-open range of blocks. Leave the first and the last ones dense.
        steps: half-open range of steps. The noisy half of a run bears it best; detail is made late.
    """

    removes_tokens: ClassVar[bool] = True
    kind: Literal["pooled"] = "pooled"
    pool: Annotated[Schedule, within(1)] | None = None
    grid: Annotated[Schedule, within(1, lengths=(2,))] | None = None
    layers: Span = Span(0.0, 1.0)
    steps: Span = Span(0.0, 1.0)

    @model_validator(mode="after")
    def _one_size(self) -> PooledDensity:
        if (self.pool is None) == (self.grid is None):
            raise ValueError(
                "expected exactly one of `pool` (side of a cell, e.g. 2) and `grid` (tokens, e.g."
                " [8, 8]); remove one or add one"
            )
        return self

    def pooled_grid(self, grid: Grid, fraction: float) -> Grid:
        """The coarse grid at `fraction` of the run for a model whose full grid is `grid`."""
        if self.grid is not None:
            height, width = self.grid.pair(fraction)
        else:
            assert self.pool is not None
            side = self.pool.scalar(fraction)
            height, width = grid.height / side, grid.width / side
        return Grid(min(grid.height, max(1, round(height))), min(grid.width, max(1, round(width))))

    def operator(self, cell: Cell) -> PooledBlock | None:
        """The pooled block of this cell; `None` where the block is dense."""
        if not cell.within(self.layers, self.steps):
            return None
        pooled = self.pooled_grid(cell.grid, cell.fraction)
        return None if pooled == cell.grid else PooledBlock(full=cell.grid, grid=pooled)
