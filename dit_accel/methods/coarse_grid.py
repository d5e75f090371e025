"""The grid of density methods: one size for a step, as a schedule over the run."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import model_validator

from dit_accel.methods.config import MethodConfig
from dit_accel.schedule import Schedule, within
from dit_accel.span import Span
from dit_accel.tokens.grid import Grid


class CoarseGrid(MethodConfig):
    """Exactly one of `pool` and `grid`; both may follow a schedule over the steps.

    Args:
        pool: side of a cell in tokens, at least 1 (1 is dense). 2 keeps a quarter of the tokens.
        grid: tokens as `[height, width]`, at most the model's own grid (larger values mean dense).
        steps: half-open range of steps; the others are dense.
    """

    removes_tokens: ClassVar[bool] = True
    pool: Annotated[Schedule, within(1)] | None = None
    grid: Annotated[Schedule, within(1, lengths=(2,))] | None = None
    steps: Span = Span(0.0, 1.0)

    @model_validator(mode="after")
    def _one_size(self) -> CoarseGrid:
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
