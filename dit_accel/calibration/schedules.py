"""Which steps are computed: sets with the least expected error of the final latents for a budget.

The expected error of a set is the root of the sum, over the gaps between computed steps, of the
square of the gap's errors: within a gap the forecasts err alike, gaps err independently. A step's
error counts as much as it leaves in the final latents (`sensitivity`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dit_accel.forecast.decisions.computed_steps import best_schedule

Steps = tuple[int, ...]
ErrorOf = Callable[[int, Steps], float]
"""Error of forecasting a step after the computed steps, newest first."""


class Choice(NamedTuple):
    """One candidate plan.

    Attributes:
        first: first block that is remembered.
        blocks: steps that compute the remembered blocks.
        guidance: steps that compute the unconditional rows too; a part of `blocks`, all of them
            where there is no guidance.
        error: expected, of the final latents.
    """

    first: int
    blocks: Steps
    guidance: Steps
    error: float


class Costs(NamedTuple):
    """Cost of a step relative to a dense one.

    Attributes:
        half: conditional rows alone.
        cheap: conditional rows alone, with the remembered blocks forecast.
    """

    half: float
    cheap: float

    def of(self, num_steps: int, blocks: int, guidance: int) -> float:
        """Of a run, in dense steps."""
        return guidance + (blocks - guidance) * self.half + (num_steps - blocks) * self.cheap


def history(computed: Sequence[int], step: int, snapshots: int) -> Steps:
    """The newest computed steps before `step`, newest first."""
    before = [at for at in computed if at < step]
    return tuple(reversed(before[-snapshots:]))


def gap_error(error_of: ErrorOf, start: int, end: int, known: Steps) -> float:
    """Squared error of all steps between two computed ones."""
    return sum(error_of(step, known) for step in range(start + 1, end)) ** 2


def schedule_error(error_of: ErrorOf, computed: Steps, num_steps: int, snapshots: int) -> float:
    """Squared error of a set of computed steps, with the histories that it has."""
    return sum(
        gap_error(error_of, start, end, history(computed, start + 1, snapshots))
        for start, end in pairwise((*computed, num_steps))
    )


def best_steps(
    error_of: ErrorOf,
    num_steps: int,
    count: int,
    snapshots: int,
    longest: int,
    allowed: Sequence[int] | None = None,
) -> Steps:
    """At most `count` computed steps, by dynamic programming, then by moving single steps.

    Args:
        error_of: the error of each forecast.
        num_steps: of the run.
        count: how many may be computed.
        snapshots: how many computed steps a forecast goes by.
        longest: longest gap that a forecast may look over.
        allowed: steps that may be computed, 0 among them; all by default.

    Raises:
        ValueError: there are too few for gaps of at most `longest`.
    """
    choices = range(num_steps) if allowed is None else sorted(allowed)
    table = _gap_table(error_of, [*choices, num_steps], snapshots, longest)
    places = best_schedule(table, count).steps
    computed = tuple(choices[place] for place in places)
    return _improved(error_of, computed, num_steps, snapshots, longest, set(choices))


def _gap_table(
    error_of: ErrorOf, ends: Sequence[int], snapshots: int, longest: int
) -> npt.NDArray[np.float64]:
    """Squared errors `[n, n + 1]` of the gaps between allowed steps, evenly spaced before each."""
    count = len(ends) - 1
    table = np.full((count, count + 1), np.inf)
    for i, start in enumerate(ends[:-1]):
        for j in range(i + 1, count + 1):
            length = ends[j] - start
            if length > longest:
                break
            known = _typical(start, length, snapshots)
            table[i, j] = gap_error(error_of, start, ends[j], known)
    return table


def _typical(start: int, length: int, snapshots: int) -> Steps:
    """Steps before `start` at the same distance; fewer and nearer at the beginning."""
    spaced = [start - age * length for age in range(snapshots)]
    kept = [at for at in spaced if at >= 0]
    return tuple(kept if len(kept) == snapshots or kept[-1] == 0 else [*kept, 0])


def _improved(
    error_of: ErrorOf,
    computed: Steps,
    num_steps: int,
    snapshots: int,
    longest: int,
    allowed: set[int],
) -> Steps:
    """Move single steps while that helps."""

    def cost(steps: Steps) -> float:
        if max(end - start for start, end in pairwise((*steps, num_steps))) > longest:
            return float("inf")
        return schedule_error(error_of, steps, num_steps, snapshots)

    best, least = computed, cost(computed)
    moved = True
    while moved:
        moved = False
        for step in best[1:]:
            for other in allowed - set(best):
                candidate = tuple(sorted({*best, other} - {step}))
                if abs(other - step) <= 2 and (found := cost(candidate)) < least * (1 - 1e-9):
                    best, least, moved = candidate, found, True
                    break
            if moved:
                break
    return best
