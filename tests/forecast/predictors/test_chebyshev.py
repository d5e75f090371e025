"""ChebBooster's barycentric weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dit_accel.forecast.predictors.chebyshev import chebyshev_weights
from dit_accel.forecast.predictors.polynomial import newton_weights


@pytest.mark.parametrize(
    ("oldest_first", "target", "expected"),
    [
        ([0, 3, 6, 9], 11, [-0.351, 0.965, -1.544, 1.930]),
        ([0, 1, 4], 6, [0.625, -1.5, 1.875]),
    ],
)
def test_published_weights(oldest_first: list[float], target: float, expected: list[float]) -> None:
    weights = chebyshev_weights(oldest_first[::-1], target)
    np.testing.assert_allclose(weights[::-1], expected, atol=5e-4)


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 20))
def test_three_even_nodes_are_the_exact_quadratic(gap: int, horizon: int) -> None:
    nodes = [2.0 * gap, gap, 0.0]
    target = nodes[0] + horizon
    np.testing.assert_allclose(
        chebyshev_weights(nodes, target), newton_weights(nodes, target, 2), rtol=1e-9
    )


def test_two_nodes_are_the_line() -> None:
    np.testing.assert_allclose(
        chebyshev_weights([7.0, 3.0], 9.0), newton_weights([7.0, 3.0], 9.0, 1)
    )


def test_four_even_nodes_trade_exactness_for_less_noise() -> None:
    nodes = np.array([9.0, 6.0, 3.0, 0.0])
    weights = chebyshev_weights(nodes, 11)
    assert weights @ nodes**2 < 121.0 - 1.0
    assert np.abs(weights).sum() < np.abs(newton_weights(nodes, 11, 3)).sum()


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.floats(0.1, 60))
def test_there_is_no_pole_ahead(gaps: list[int], horizon: float) -> None:
    """Noise is never amplified more than by the exact polynomial through the nodes in use."""
    nodes = np.cumsum([0, *gaps])[::-1].astype(float)
    weights = chebyshev_weights(nodes, nodes[0] + horizon)
    used = np.flatnonzero(weights).size
    polynomial = newton_weights(nodes[:used], nodes[0] + horizon, min(used - 1, 3))
    if used <= 4:
        assert np.abs(weights).sum() <= np.abs(polynomial).sum() * (1 + 1e-9)
    assert weights[0] > 0 and np.isfinite(weights).all()


def test_snapshots_before_a_longer_gap_are_left_out() -> None:
    """With all of 0, 3, 4 there is a pole at 6."""
    rho, nodes = np.array([0.5, -1.0, 0.5]), np.array([4.0, 3.0, 0.0])
    assert (rho / (6.0 - nodes)).sum() == pytest.approx(0.0)
    np.testing.assert_allclose(chebyshev_weights(nodes, 6.0), [3.0, -2.0, 0.0])
