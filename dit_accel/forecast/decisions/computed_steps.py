"""The set of computed steps with the least total error for a budget, by dynamic programming.

What a forecast costs depends on where it starts: ``error[i, j]`` is the error of forecasting the
steps ``i + 1 ... j - 1`` from a computation at ``i`` when the next one is at ``j`` (measured on a
few trajectories, `dit_accel.forecast.predictors.calibrated`). A schedule is a path from step 0 to
the end of the run through the computed steps, its error the sum over the jumps. The path with the
least error for each cost is found exactly by keeping, at every step, the partial schedules that no
other one beats in both cost and error. With equal costs that is the textbook ``O(K T^2)``.

The error of a jump is taken to depend on its two ends only. Predictors that use older snapshots
make it depend on earlier computed steps as well; ``error`` then is for a typical spacing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Schedule(NamedTuple):
    """A set of computed steps.

    Attributes:
        steps: the computed steps in order; the first is 0.
        error: its total error.
        cost: its total cost.
    """

    steps: tuple[int, ...]
    error: float
    cost: float


def jump_errors(step_errors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Add up per-step errors to those of jumps.

    Args:
        step_errors: ``[T, T]``, entry ``[i, s]`` is the error of forecasting step ``s > i`` from a
            computation at ``i``; entries with ``s <= i`` are not read.

    Returns:
        ``[T, T + 1]``, entry ``[i, j]`` for a jump from ``i`` to ``j > i``; infinite elsewhere.
    """
    num_steps = len(step_errors)
    ahead = np.triu(np.ones((num_steps, num_steps), dtype=bool), k=1)
    sums = np.cumsum(np.where(ahead, step_errors, 0.0), axis=1)
    jumps = np.full((num_steps, num_steps + 1), np.inf)
    jumps[:, 1:] = np.where(np.triu(np.ones_like(ahead)), sums, np.inf)
    return jumps


def best_schedule(
    errors: npt.NDArray[np.float64], budget: float, costs: Sequence[float] | None = None
) -> Schedule:
    """Find the schedule with the least error within the budget.

    Args:
        errors: ``[T, T + 1]``, entry ``[i, j]`` for a jump from computed step ``i`` to the next
            one ``j > i``, where ``j = T`` is the end of the run; not negative. Infinite forbids a
            jump: a longest gap, or a last step that has to be computed. Others are not read.
        budget: the number of computed steps, or, with ``costs``, what they may cost together.
        costs: ``[T]``, what computing each step costs, positive; 1 each by default.

    Returns:
        The best schedule; of several, one that costs the least.

    Raises:
        ValueError: shapes or values are wrong, or no schedule satisfies the budget.
    """
    table = np.asarray(errors, dtype=np.float64)
    num_steps = len(table)
    price = np.ones(num_steps) if costs is None else np.asarray(costs, dtype=np.float64)
    _check(table, price)
    # front[j]: undominated schedules whose next computed step is j, cheapest first.
    front: list[list[Schedule]] = [[] for _ in range(num_steps + 1)]
    front[0] = [Schedule((), 0.0, 0.0)]
    for end in range(1, num_steps + 1):
        reached = [
            Schedule((*path.steps, step), path.error + float(table[step, end]), cost)
            for step in range(end)
            if np.isfinite(table[step, end])
            for path in front[step]
            if (cost := path.cost + float(price[step])) <= budget
        ]
        front[end] = _undominated(reached)
    if not front[-1]:
        raise ValueError(
            f"no schedule of {num_steps} steps fits a budget of {budget} (the first step alone "
            f"costs {price[0]}); raise the budget or allow longer gaps"
        )
    return front[-1][-1]


def _undominated(schedules: list[Schedule]) -> list[Schedule]:
    """Keep those that are better than all cheaper ones; cheapest first, best last."""
    kept: list[Schedule] = []
    for schedule in sorted(schedules, key=lambda s: (s.cost, s.error, s.steps)):
        if not kept or schedule.error < kept[-1].error:
            kept.append(schedule)
    return kept


def _check(errors: npt.NDArray[np.float64], costs: npt.NDArray[np.float64]) -> None:
    num_steps = len(errors)
    if num_steps == 0 or errors.shape != (num_steps, num_steps + 1) or costs.shape != (num_steps,):
        raise ValueError(
            f"expected errors of shape [T, T + 1] and T costs, got {errors.shape} and {costs.shape}"
        )
    read = errors[np.triu_indices(num_steps, k=1, m=num_steps + 1)]
    if np.isnan(read).any() or (read < 0).any() or not (costs > 0).all():
        raise ValueError("errors must be numbers of at least 0 (or inf) and costs be positive")
