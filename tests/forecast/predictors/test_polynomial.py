"""Newton extrapolation over snapshots."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dit_accel.forecast.predictors.polynomial import damped_horizon, newton_weights

times_strategy = st.lists(st.integers(-60, 60), min_size=1, max_size=6, unique=True)


def lagrange(times: list[int], target: int) -> list[float]:
    """Return the Lagrange basis at ``target`` in exact rational arithmetic."""
    weights = []
    for time in times:
        weight = Fraction(1)
        for other in times:
            if other != time:
                weight *= Fraction(target - other, time - other)
        weights.append(float(weight))
    return weights


@pytest.mark.parametrize(
    ("oldest_first", "target", "expected"),
    [
        ([0, 1], 2, [-1, 2]),
        ([0, 3], 4, [-1 / 3, 4 / 3]),
        ([0, 3], 5, [-2 / 3, 5 / 3]),
        ([0, 3, 6], 7, [2 / 9, -7 / 9, 14 / 9]),
        ([0, 3, 6], 8, [5 / 9, -16 / 9, 20 / 9]),
        ([0, 4, 8], 9, [5 / 32, -9 / 16, 45 / 32]),
        ([0, 4, 8], 11, [21 / 32, -33 / 16, 77 / 32]),
        ([0, 5, 10], 14, [0.72, -2.24, 2.52]),
        ([0, 1, 4], 6, [2.5, -4, 2.5]),
        ([0, 3, 6, 9], 11, [-40 / 81, 55 / 27, -88 / 27, 220 / 81]),
        ([0, 1, 2], 3, [1, -3, 3]),
    ],
)
def test_published_weights(oldest_first: list[float], target: float, expected: list[float]) -> None:
    weights = newton_weights(oldest_first[::-1], target, len(oldest_first) - 1)
    np.testing.assert_allclose(weights[::-1], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("oldest_first", "degree", "target", "order", "expected"),
    [
        ([-6, -3, 0], 2, 2, 2, 4.0),
        ([0, 1, 4], 2, 6, 2, 36.0),
        ([0, 1, 4], 2, 6, 1, 26.0),
        ([0, 1, 4, 8], 3, 10, 3, 1000.0),
        ([0, 1, 4], 1, 6, 2, 6.0),
        # One order too few: off by f[t_0..t_3] (6 - 0)(6 - 1)(6 - 4) = 60.
        ([0, 1, 4], 3, 6, 2, 156.0),
    ],
)
def test_powers_of_time(
    oldest_first: list[float], degree: int, target: float, order: int, expected: float
) -> None:
    newest_first = oldest_first[::-1]
    values = np.array(newest_first, dtype=float) ** degree
    assert newton_weights(newest_first, target, order) @ values == pytest.approx(expected)


@settings(deadline=None)
@given(times_strategy, st.integers(-90, 90), st.integers(0, 3))
def test_weights_are_the_lagrange_basis_of_the_newest_nodes(
    times: list[int], target: int, order: int
) -> None:
    weights = newton_weights(times, target, order)
    assert weights.shape == (len(times),) and weights.dtype == np.float64
    used = min(order, len(times) - 1) + 1
    expected = lagrange(times[:used], target)
    np.testing.assert_allclose(weights[:used], expected, rtol=1e-9, atol=1e-9)
    assert not weights[used:].any()


@settings(deadline=None)
@given(times_strategy, st.integers(-90, 90), st.integers(0, 3), st.floats(0, 1))
def test_weights_sum_to_one_whatever_the_damping(
    times: list[int], target: int, order: int, damping: float
) -> None:
    weights = newton_weights(times, target, order, damping)
    assert weights.sum() == pytest.approx(1.0, abs=1e-9 * max(1.0, np.abs(weights).sum()))


def test_remainder_one_degree_too_high() -> None:
    """The error for a monic polynomial of degree order + 1 is the product of the distances."""
    nodes, target = [9.0, 7.5, 3.0, -1.0], 11.0
    for order in range(4):
        used = np.array(nodes[: order + 1])
        forecast = newton_weights(nodes, target, order) @ np.array(nodes) ** (order + 1)
        assert target ** (order + 1) - forecast == pytest.approx(np.prod(target - used))


def test_order_degrades_with_the_history() -> None:
    full = [8.0, 5.0, 1.0]
    assert newton_weights(full[:1], 9.0, 3).tolist() == [1.0]
    for count in (1, 2, 3):
        expected = newton_weights(full[:count], 9.0, count - 1)
        assert np.array_equal(newton_weights(full[:count], 9.0, 3), expected)


def test_predicting_at_a_node_returns_it() -> None:
    np.testing.assert_allclose(newton_weights([6, 4, 1], 6, 2), [1, 0, 0], atol=1e-15)
    np.testing.assert_allclose(newton_weights([6, 4, 1], 4, 2), [0, 1, 0], atol=1e-15)


def test_damping_scales_each_order() -> None:
    nodes, target = [6.0, 4.0, 1.0], 9.0
    assert newton_weights(nodes, target, 2, damping=0.0).tolist() == [1.0, 0.0, 0.0]
    reuse, line, curve = (newton_weights(nodes, target, order) for order in range(3))
    expected = reuse + 0.5 * (line - reuse) + 0.25 * (curve - line)
    np.testing.assert_allclose(newton_weights(nodes, target, 2, 0.5), expected, atol=1e-12)


@pytest.mark.parametrize("scale", [-1.0, 0.02, 1000.0])
def test_unit_and_direction_of_time_do_not_matter(scale: float) -> None:
    nodes, target = np.array([6.0, 4.0, 1.0, 0.0]), 9.0
    scaled = newton_weights(list(nodes * scale + 3), target * scale + 3, 3)
    np.testing.assert_allclose(scaled, newton_weights(list(nodes), target, 3), rtol=1e-9)


def test_an_increasing_line_keeps_increasing() -> None:
    """A flipped sign hides behind near-reuse, so the direction is checked by itself."""
    assert newton_weights([980.0, 1000.0], 960.0, 1) @ np.array([2.0, 1.0]) == 3.0


@pytest.mark.parametrize(
    ("times", "order", "damping", "message"),
    [
        ([3.0, 1.0, 3.0], 1, 1.0, "distinct"),
        ([], 1, 1.0, "at least one"),
        ([1.0], -1, 1.0, "from 0 to 3, got -1"),
        ([1.0], 4, 1.0, "from 0 to 3, got 4"),
        ([1.0], 1, 1.5, "from 0 to 1, got 1.5"),
        ([1.0], 1, float("nan"), "from 0 to 1, got nan"),
        ([1.0, float("nan")], 1, 1.0, "finite"),
    ],
)
def test_wrong_arguments_are_named(
    times: list[float], order: int, damping: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        newton_weights(times, 2.0, order, damping)


def test_gain_is_bounded_degree_by_degree() -> None:
    """Nodes 0, 1, 4 and target 6: the line has 7/3, the quadratic 9."""
    nodes = [4.0, 1.0, 0.0]
    assert np.array_equal(newton_weights(nodes, 6, 2, max_gain=9.0), newton_weights(nodes, 6, 2))
    line = newton_weights(nodes, 6, 1)
    np.testing.assert_allclose(newton_weights(nodes, 6, 2, max_gain=7 / 3), line, atol=1e-12)
    between = newton_weights(nodes, 6, 2, max_gain=3.0)
    assert np.abs(line).sum() < np.abs(between).sum() <= 3.0
    # Still exact for straight lines, since the line fits within the bound.
    assert between @ (2 * np.array(nodes) + 1) == pytest.approx(13.0)


@settings(deadline=None)
@given(times_strategy, st.integers(-90, 90), st.integers(0, 3), st.floats(1, 20))
def test_gain_stays_within_any_bound(
    times: list[int], target: int, order: int, max_gain: float
) -> None:
    weights = newton_weights(times, target, order, max_gain=max_gain)
    assert np.abs(weights).sum() <= max_gain * (1 + 1e-9)
    assert weights.sum() == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("max_gain", [0.5, float("nan")])
def test_gain_below_that_of_reuse_is_refused(max_gain: float) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        newton_weights([1.0, 0.0], 2.0, 1, max_gain=max_gain)


def test_exact_in_the_coordinate_of_the_polynomial_whatever_the_gaps() -> None:
    """Fact sheet T6: f = 3 t^2 - t sampled at gaps (1, 3), (3, 1) and (2, 2), forecast at 7."""
    for nodes in ([4.0, 3.0, 0.0], [4.0, 1.0, 0.0], [4.0, 2.0, 0.0]):
        values = 3 * np.array(nodes) ** 2 - np.array(nodes)
        assert newton_weights(nodes, 7.0, 2) @ values == pytest.approx(140.0)


def test_damped_horizon() -> None:
    """Fact sheet T11: from one step of the slope, then flat, to the undamped line."""
    assert damped_horizon(3.0, 1.0) == 3.0
    assert damped_horizon(3.0, 1 - 1e-9) == pytest.approx(3.0)
    assert [damped_horizon(k, 0.0) for k in (1.0, 2.0, 5.0)] == [1.0, 1.0, 1.0]
    assert damped_horizon(3.0, 0.5) == 1.75
    assert damped_horizon(1e4, 0.8) == pytest.approx(5.0)
    assert damped_horizon(-3.0, 0.5) == -1.75
    with pytest.raises(ValueError, match=r"from 0 to 1, got 1\.5"):
        damped_horizon(1.0, 1.5)
