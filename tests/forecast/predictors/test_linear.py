"""What every linear predictor keeps to, and what each of them is exact for."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dit_accel.forecast.predictors import (
    adams_weights,
    chebyshev_weights,
    foca_weights,
    hermite_weights,
    newton_weights,
    reuse_weights,
    taylor_weights,
)

Predictor = Callable[[Sequence[float], float], np.ndarray]

PREDICTORS: dict[str, Predictor] = {
    "reuse": reuse_weights,
    "polynomial": lambda times, target: newton_weights(times, target, 3),
    "taylor": lambda times, target: taylor_weights(times, target, 4),
    "hermite": lambda times, target: hermite_weights(times, target, 2),
    "chebyshev": chebyshev_weights,
    "adams": adams_weights,
    "foca": foca_weights,
}
EXACT_FOR_LINES = sorted(PREDICTORS.keys() - {"reuse", "hermite"})

# Step indices of a run, newest first, and a step after them.
gaps = st.lists(st.integers(1, 9), min_size=0, max_size=5)
horizons = st.integers(1, 12)


def newest_first(steps: list[int]) -> tuple[float, ...]:
    """Positions with the given gaps, from 0 on."""
    return tuple(np.cumsum([0, *steps])[::-1].astype(float))


@pytest.mark.parametrize("name", sorted(PREDICTORS))
@settings(deadline=None, max_examples=40)
@given(gaps, horizons)
def test_constants_are_kept(name: str, steps: list[int], horizon: int) -> None:
    times = newest_first(steps)
    weights = PREDICTORS[name](times, times[0] + horizon)
    assert weights.shape == (len(times),) and weights.dtype == np.float64
    assert weights.sum() == pytest.approx(1.0, abs=1e-9 * np.abs(weights).sum())


@pytest.mark.parametrize("name", EXACT_FOR_LINES)
@settings(deadline=None, max_examples=40)
@given(gaps.filter(bool), horizons)
def test_straight_lines_are_exact_on_any_gaps(name: str, steps: list[int], horizon: int) -> None:
    times = newest_first(steps)
    target = times[0] + horizon
    weights = PREDICTORS[name](times, target)
    tolerance = 1e-9 * (1.0 + np.abs(weights) @ np.array(times))
    assert weights @ np.array(times) == pytest.approx(target, abs=tolerance)


@pytest.mark.parametrize("name", sorted(PREDICTORS))
def test_an_increasing_line_keeps_increasing(name: str) -> None:
    """In steps that count up and in steps that count down; a flipped sign hides in near-reuse."""
    values = np.array([5.0, 3.0, 1.0])
    for times, target in (((10.0, 8.0, 6.0), 11.0), ((40.0, 42.0, 44.0), 39.0)):
        forecast = PREDICTORS[name](times, target) @ values
        assert forecast >= 5.0 and (forecast > 5.0 or name == "reuse")


@pytest.mark.parametrize("name", sorted(PREDICTORS))
def test_one_snapshot_is_reused(name: str) -> None:
    assert PREDICTORS[name]((7.0,), 9.0).tolist() == [1.0]


@pytest.mark.parametrize("name", sorted(PREDICTORS.keys() - {"hermite"}))
def test_direction_of_time_does_not_matter(name: str) -> None:
    up = PREDICTORS[name]((9.0, 6.0, 4.0, 0.0), 11.0)
    down = PREDICTORS[name]((41.0, 44.0, 46.0, 50.0), 39.0)
    np.testing.assert_allclose(up, down, rtol=1e-12)


@pytest.mark.parametrize("name", sorted(PREDICTORS.keys() - {"hermite"}))
def test_at_the_newest_snapshot_it_is_returned(name: str) -> None:
    np.testing.assert_allclose(PREDICTORS[name]((9.0, 6.0, 4.0), 9.0), [1, 0, 0], atol=1e-12)


@pytest.mark.parametrize("name", sorted(PREDICTORS))
@pytest.mark.parametrize("times", [(), (3.0, 3.0), (3.0, float("nan"))])
def test_unusable_times_are_refused(name: str, times: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"at least one|distinct, finite"):
        PREDICTORS[name](times, 5.0)


@pytest.mark.parametrize("name", sorted(PREDICTORS.keys() - {"reuse", "polynomial"}))
def test_predictors_of_consecutive_snapshots_want_them_in_order(name: str) -> None:
    with pytest.raises(ValueError, match="newest first"):
        PREDICTORS[name]((5.0, 1.0, 3.0), 7.0)


def test_orders_degrade_with_the_history() -> None:
    """Fact sheet T15: 1, 2, 3 snapshots give orders 0, 1, 2."""
    full = (8.0, 5.0, 1.0)
    for weigh in (newton_weights, taylor_weights, hermite_weights, adams_weights):
        for count in (1, 2, 3):
            capped = weigh(full[:count], 9.0, 2)
            np.testing.assert_array_equal(capped, weigh(full[:count], 9.0, count - 1))


@pytest.mark.parametrize(
    ("weigh", "maximum"), [(taylor_weights, 4), (hermite_weights, 4), (adams_weights, 2)]
)
def test_orders_out_of_range_are_refused(weigh: Callable[..., np.ndarray], maximum: int) -> None:
    for order in (-1, maximum + 1):
        with pytest.raises(ValueError, match=f"from 0 to {maximum}, got {order}"):
            weigh((1.0, 0.0), 2.0, order)
