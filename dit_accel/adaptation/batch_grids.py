"""On which token grid a batch runs: that of its step as a rule, now and then another one.

Trained on the scheduled pairs of step and grid alone, weights would fit no other schedule. So a
share of the batches runs on any other grid of it. Dense steps are the base model's, never trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from dit_accel.adaptation.config import AdaptationConfig
from dit_accel.learned_parts import fixed_density
from dit_accel.plan import Plan
from dit_accel.program import StepProgram, density_grid
from dit_accel.tokens.grid import Grid


@dataclass(frozen=True)
class BatchGrids:
    """The grids of one adaptation.

    Attributes:
        scheduled: by the plan, one a step.
        others: that batches may run on instead.
        share: of the batches that do.
    """

    scheduled: tuple[Grid, ...]
    others: tuple[Grid, ...]
    share: float

    @classmethod
    def of(
        cls, config: AdaptationConfig, plan: Plan, table: Sequence[StepProgram], full: Grid
    ) -> BatchGrids:
        """Those of a plan, whose program over a run is `table`."""
        scheduled = tuple(density_grid(program.cells) or full for program in table)
        # A step whose tokens are merged can't be given a coarser grid as well.
        others = set(scheduled) - {full} if plan.merge is None else set[Grid]()
        return cls(scheduled, tuple(sorted(others)), config.other_grids)

    def draw(self, step: int, generator: torch.Generator) -> Grid:
        """The grid of a batch at `step` of the run."""
        own = self.scheduled[step]
        others = [grid for grid in self.others if grid != own]
        if not others or torch.rand((), generator=generator) >= self.share:
            return own
        return others[int(torch.randint(len(others), (), generator=generator))]

    def running(self, transformer: Any, step: int, grid: Grid) -> AbstractContextManager[None]:
        """Let `step` run on `grid`; keep the backward pass inside."""
        if grid == self.scheduled[step]:
            return nullcontext()
        return fixed_density(transformer, grid)
