"""TaylorSeer as released, its error on parabolas included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dit_accel.forecast.predictors.polynomial import newton_weights
from dit_accel.forecast.predictors.taylor import taylor_weights


@pytest.mark.parametrize(
    ("oldest_first", "degree", "target", "order", "expected"),
    [
        ([-6, -3, 0], 2, 2, 2, -2.0),
        ([0, 1, 4], 2, 6, 2, 28.667),
        ([0, 1, 4], 2, 6, 1, 26.0),
        ([0, 1, 4, 8], 3, 10, 3, 786.86),
        ([0, 1, 4], 1, 6, 2, 6.0),
    ],
)
def test_worked_numbers(
    oldest_first: list[float], degree: int, target: float, order: int, expected: float
) -> None:
    newest_first = oldest_first[::-1]
    values = np.array(newest_first, dtype=float) ** degree
    forecast = taylor_weights(newest_first, target, order) @ values
    assert forecast == pytest.approx(expected, abs=0.005)


def released_forecast(times: list[int], values: list[float], target: int, order: int) -> float:
    """The release's bookkeeping: at each full step all differences, over the newest gap alone."""
    factors: list[float] = []
    for index, (time, value) in enumerate(zip(times, values, strict=True)):
        updated = [value]
        for degree in range(min(order, len(factors))):
            updated.append((updated[degree] - factors[degree]) / (time - times[index - 1]))
        factors = updated
    horizon, forecast, factorial = target - times[-1], 0.0, 1.0
    for degree, factor in enumerate(factors):
        factorial *= max(degree, 1)
        forecast += factor * horizon**degree / factorial
    return forecast


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=0, max_size=5),
    st.integers(1, 9),
    st.integers(0, 4),
    st.integers(0, 99),
)
def test_the_released_recursion(gaps: list[int], horizon: int, order: int, seed: int) -> None:
    times = np.cumsum([0, *gaps]).tolist()
    values = np.random.default_rng(seed).normal(size=len(times))
    target = times[-1] + horizon
    weights = taylor_weights(times[::-1], target, order)
    expected = released_forecast(times, values.tolist(), target, order)
    assert weights @ values[::-1] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_error_on_a_parabola_with_even_gaps() -> None:
    """Newton's forecast is missed by D_2 k N / 2, which is k N for t^2."""
    nodes, gap = np.array([8.0, 4.0, 0.0]), 4.0
    for horizon in (1.0, 2.0, 3.0):
        taylor = taylor_weights(nodes, 8 + horizon, 2) @ nodes**2
        newton = newton_weights(nodes, 8 + horizon, 2) @ nodes**2
        assert newton - taylor == pytest.approx(horizon * gap)
