"""Whether a run has each grid at the noise levels at which an adapter was trained on it.

A schedule of grids goes by the step, noise by the solver's timesteps: with Karras' sigmas, a shift
or another spacing a grid comes where it was never trained, and nothing in the pictures says why.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Sequence
from typing import Any

from dit_accel.adapters.record import AdapterRecord
from dit_accel.methods.coarse_grid import CoarseGrid
from dit_accel.methods.config import MethodConfig
from dit_accel.methods.reading import read_method
from dit_accel.tokens.grid import Grid

# Of the highest timestep: runs of other lengths change grids a step earlier or later.
_SLACK = 0.1


class TrainedLevels:
    """The timesteps at which an adapter has seen each grid.

    Args:
        record: of the adapter.
        density: of the plan that is run, which may have another schedule.
    """

    def __init__(self, record: AdapterRecord, density: MethodConfig | None) -> None:
        self._record, self._density = record, density
        self._checked: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def check(self, scheduler: Any, num_steps: int | None, full: Grid) -> None:
        """Warn of a run whose grids come at clearly other timesteps, once for each solver."""
        timesteps = getattr(scheduler, "timesteps", None)
        if not self._record.timesteps or timesteps is None or len(timesteps) != num_steps:
            return
        if self._checked.get(scheduler) != num_steps:
            self._checked[scheduler] = num_steps
            message = self._moved(timesteps.tolist(), full)
            if message:
                warnings.warn(message, stacklevel=2)

    def _moved(self, timesteps: Sequence[float], full: Grid) -> str | None:
        known = self._record.timesteps
        trained = _levels(read_method(self._record.plan.get("density"), "density"), known, full)
        slack = _SLACK * max(known)
        for grid, (low, high) in _levels(self._density, timesteps, full).items():
            first, last = trained.get(grid, (low, high))
            if low < first - slack or high > last + slack:
                return (
                    f"adapter: it was trained on {grid} tokens at timesteps {first:.0f} to"
                    f" {last:.0f}, but this run has them at {low:.0f} to {high:.0f}; use a solver"
                    " with the timesteps of its recipe's, or move the steps of density.grid"
                )
        return None


def _levels(
    density: MethodConfig | None, timesteps: Sequence[float], full: Grid
) -> dict[Grid, tuple[float, float]]:
    """The lowest and the highest timestep of each coarse grid of a run."""
    if not isinstance(density, CoarseGrid):
        return {}
    found: dict[Grid, tuple[float, float]] = {}
    for step in density.steps.resolve(len(timesteps), "density.steps"):
        grid = density.pooled_grid(full, step / max(1, len(timesteps) - 1))
        low, high = found.get(grid, (timesteps[step], timesteps[step]))
        found[grid] = min(low, timesteps[step]), max(high, timesteps[step])
    found.pop(full, None)  # the stock model knows all of them
    return found
