"""The best set of computed steps, against trying all of them."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dit_accel.forecast.decisions.computed_steps import best_schedule, jump_errors


def random_errors(num_steps: int, seed: int) -> np.ndarray:
    """Errors of jumps, nothing for a jump of one step, some forbidden."""
    generator = np.random.default_rng(seed)
    errors = generator.exponential(size=(num_steps, num_steps + 1))
    errors[generator.random(errors.shape) < 0.1] = np.inf
    errors[np.arange(num_steps), np.arange(1, num_steps + 1)] = 0.0
    return errors


def least_error(errors: np.ndarray, costs: np.ndarray, budget: float) -> float:
    """Try every set of computed steps."""
    num_steps, best = len(errors), np.inf
    for count in range(num_steps):
        for later in combinations(range(1, num_steps), count):
            steps = (0, *later)
            if costs[list(steps)].sum() <= budget:
                best = min(best, errors[steps, (*later, num_steps)].sum())
    return float(best)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 9), st.integers(0, 9999), st.data())
def test_no_set_within_the_budget_is_better(num_steps: int, seed: int, data: st.DataObject) -> None:
    errors, budget = random_errors(num_steps, seed), data.draw(st.integers(1, num_steps))
    expected = least_error(errors, np.ones(num_steps), budget)
    if expected == np.inf:
        with pytest.raises(ValueError, match="no schedule"):
            best_schedule(errors, budget)
        return
    found = best_schedule(errors, budget)
    assert found.error == pytest.approx(expected)
    assert found.cost == len(found.steps) <= budget and found.steps[0] == 0
    ends = (*found.steps[1:], num_steps)
    assert errors[list(found.steps), list(ends)].sum() == pytest.approx(found.error)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 8), st.integers(0, 9999))
def test_steps_of_different_costs(num_steps: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    errors, costs = random_errors(num_steps, seed), generator.choice([1.0, 0.5, 1.7], num_steps)
    budget = generator.uniform(costs[0], costs.sum())
    expected = least_error(errors, costs, budget)
    if expected < np.inf:
        found = best_schedule(errors, budget, costs)
        assert found.error == pytest.approx(expected)
        assert found.cost == pytest.approx(costs[list(found.steps)].sum())


def test_even_errors_give_an_even_schedule() -> None:
    """The square of the number of forecast steps, 12 steps, 4 of them computed."""
    start, end = np.indices((12, 13))
    errors = np.maximum(end - start - 1.0, 0.0) ** 2
    assert best_schedule(errors, 4).steps == (0, 3, 6, 9)
    assert best_schedule(errors, 12) == (tuple(range(12)), 0.0, 12.0)


def test_a_forced_last_step_and_a_longest_gap() -> None:
    start, end = np.indices((10, 11))
    errors = np.where(end - start > 4, np.inf, np.maximum(end - start - 1.0, 0.0))
    errors[:9, 10] = np.inf
    assert best_schedule(errors, 4).steps[-1] == 9
    with pytest.raises(ValueError, match="no schedule of 10 steps fits a budget of 3"):
        best_schedule(errors, 3)


def test_cheapest_of_equally_good_schedules() -> None:
    errors = np.zeros((4, 5))
    assert best_schedule(errors, 4) == ((0,), 0.0, 1.0)


def test_errors_of_steps_add_up_to_those_of_jumps() -> None:
    steps = np.array([[9.0, 1.0, 2.0], [9.0, 9.0, 4.0], [9.0, 9.0, 9.0]])
    inf = np.inf
    expected = [[inf, 0.0, 1.0, 3.0], [inf, inf, 0.0, 4.0], [inf, inf, inf, 0.0]]
    assert jump_errors(steps).tolist() == expected


def test_fifty_steps_take_no_time() -> None:
    errors = jump_errors(np.abs(np.random.default_rng(0).normal(size=(50, 50))))
    counts = [len(best_schedule(errors, budget).steps) for budget in (1, 12, 25)]
    assert counts == [1, 12, 25]


def test_wrong_tables_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[T, T \+ 1\]"):
        best_schedule(np.zeros((3, 3)), 2)
    with pytest.raises(ValueError, match=r"\[T, T \+ 1\]"):
        best_schedule(np.zeros((3, 4)), 2, [1.0])
    with pytest.raises(ValueError, match="costs be positive"):
        best_schedule(np.zeros((2, 3)), 2, [1.0, 0.0])
    for wrong in (-1.0, np.nan):
        with pytest.raises(ValueError, match="at least 0"):
            best_schedule(np.full((2, 3), wrong), 2)
