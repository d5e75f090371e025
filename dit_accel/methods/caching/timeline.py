"""When each batch row was computed, and where in the ring its snapshots lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dit_accel.forecast.predictors.nodes import Weights
from dit_accel.tokens.grid import Grid


@dataclass
class RowTimeline:
    """One row's history; rows of one batch may have been computed at different steps.

    Attributes:
        capacity: snapshots that are kept.
        steps: at which steps the row was computed, newest first, as far as they are kept.
        grid: the token grid of those steps; a change of grid starts the history anew.
        pushes: how often it was computed, which says where the next snapshot goes.
    """

    capacity: int
    steps: tuple[int, ...] = ()
    grid: Grid | None = None
    pushes: int = 0

    def record(self, step: int, grid: Grid | None) -> None:
        """Note that `step` was computed."""
        kept = self.steps if grid == self.grid else ()
        self.steps, self.grid = (step, *kept)[: self.capacity], grid
        self.pushes += 1

    @property
    def slot(self) -> int:
        """Where in the ring the newest snapshot lies."""
        return (self.pushes - 1) % self.capacity

    def in_slots(self, weights: Weights) -> Weights:
        """Weights `[len(steps)]`, newest first, as `[capacity]` in the order of the slots."""
        placed = np.zeros(self.capacity)
        for age, weight in enumerate(weights):
            placed[(self.slot - age) % self.capacity] = weight
        return placed
