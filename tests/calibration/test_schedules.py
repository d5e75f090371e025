"""Sets of computed steps, against all sets there are."""

from __future__ import annotations

import math
import statistics
from itertools import combinations

import pytest

from dit_accel.calibration.schedules import Costs, best_steps, history, schedule_error

SNAPSHOTS = 2


def rough(seed: int):
    """Errors that grow with the distance, at some steps faster than at others."""

    def error(step: int, after: tuple[int, ...]) -> float:
        pace = 1.1 + math.sin(seed + 1.7 * step)
        return pace * (step - after[0]) ** 1.5 + 0.1 * (after[0] - after[-1])

    return error


def test_history_is_the_newest_computed_steps() -> None:
    assert history((0, 2, 5, 7), 6, 2) == (5, 2)
    assert history((0, 2, 5, 7), 8, 3) == (7, 5, 2)
    assert history((0, 2), 1, 2) == (0,)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_found_sets_are_near_the_best_of_all(count: int) -> None:
    steps, ratios = 8, []
    for seed in range(40):
        every = [
            schedule_error(rough(seed), (0, *rest), steps, SNAPSHOTS)
            for rest in combinations(range(1, steps), count - 1)
        ]
        found = best_steps(rough(seed), steps, count, SNAPSHOTS, steps)
        assert found[0] == 0 and len(found) <= count
        ratios.append(schedule_error(rough(seed), found, steps, SNAPSHOTS) / min(every))
    # Dynamic programming takes the history to be evenly spaced; single moves mend most of it.
    assert statistics.median(ratios) == pytest.approx(1) and max(ratios) < 2


def test_only_allowed_steps_and_gaps() -> None:
    found = best_steps(rough(1), 12, 4, SNAPSHOTS, 12, allowed=(0, 3, 4, 8, 10))
    assert set(found) <= {0, 3, 4, 8, 10}
    found = best_steps(rough(1), 12, 4, SNAPSHOTS, 4)
    assert max(b - a for a, b in zip(found, [*found[1:], 12], strict=True)) <= 4
    with pytest.raises(ValueError, match="no schedule"):
        best_steps(rough(1), 12, 2, SNAPSHOTS, 4)


def test_the_error_of_a_gap_adds_up_and_gaps_are_independent() -> None:
    def error(step: int, after: tuple[int, ...]) -> float:
        return float(step - after[0])

    # Gaps 0-3 (errors 1, 2) and 3-5 (error 1), then nothing is forecast.
    assert schedule_error(error, (0, 3, 5), 6, SNAPSHOTS) == (1 + 2) ** 2 + 1


def test_costs_of_a_run() -> None:
    assert Costs(half=0.5, cheap=0.05).of(20, 8, 4) == pytest.approx(4 + 2 + 12 * 0.05)
