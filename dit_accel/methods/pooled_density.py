"""Training-free pooled blocks: a block runs on a coarse token grid and contributes its *change*.

`x <- x + U(block(Wx) - Wx)` with `W` the mean over the cells of a partition of the grid and `U` the
nearest-neighbour copy back. The delta form (after FlexDiT / SparseDiT, arXiv 2412.06028) keeps the
detail `x - UWx` of the residual stream untouched; it is exact on constant maps and bit-identical to
the dense block at full resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from dit_accel.methods.cell import Cell, Forward
from dit_accel.methods.coarse_grid import CoarseGrid
from dit_accel.methods.registry import register
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
class PooledDensity(CoarseGrid):
    """`density: {kind: pooled, pool: 2, layers: [0.2, 0.8], steps: [0.0, 0.5]}`.

    Args:
        pool, grid, steps: the size and when (`CoarseGrid`). The noisy half of a run bears it best;
            detail is made late.
        layers: half-open range of blocks. Leave the first and the last ones dense.
    """

    kind: Literal["pooled"] = "pooled"
    layers: Span = Span(0.0, 1.0)

    def operator(self, cell: Cell) -> PooledBlock | None:
        """The pooled block of this cell; `None` where the block is dense."""
        if not cell.within(self.layers, self.steps):
            return None
        pooled = self.pooled_grid(cell.grid, cell.fraction)
        return None if pooled == cell.grid else PooledBlock(full=cell.grid, grid=pooled)
