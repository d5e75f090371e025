"""HiCache's Hermite basis."""

import math

import numpy as np
import pytest

from dit_accel.forecast.predictors.hermite import hermite_weights
from dit_accel.forecast.predictors.taylor import taylor_weights

# Snapshots whose differences over even unit gaps are D = (0, 0, ..., 1): powers of the basis show.
TIMES = [3.0, 2.0, 1.0, 0.0]


def basis_at(horizon: float, order: int) -> float:
    """The basis function of one order: what is added to the order below, of D = 1."""
    values = {1: [0, -1], 2: [0, 0, 1], 3: [0, 0, 0, -1]}[order]
    padded = np.array([*values, *[0] * (4 - len(values))], dtype=float)
    added = hermite_weights(TIMES, 3 + horizon, order) - hermite_weights(
        TIMES, 3 + horizon, order - 1
    )
    return float(added @ padded) * math.factorial(order)


@pytest.mark.parametrize(
    ("horizon", "expected"),
    [(1, (0.5, -0.25, -0.625)), (2, (1.0, 0.5, -0.5)), (3, (1.5, 1.75, 1.125))],
)
def test_basis_at_the_recommended_scale(horizon: int, expected: tuple[float, ...]) -> None:
    found = [basis_at(horizon, order) for order in (1, 2, 3)]
    assert found == pytest.approx(expected)


def test_order_one_is_a_line_of_scaled_slope() -> None:
    times, values = [9.0, 7.0, 2.0], np.array([21.0, 17.0, 7.0])
    for sigma, share in ((0.5, 0.5), (math.sqrt(0.5), 1.0), (1.0, 2.0)):
        forecast = hermite_weights(times, 12.0, 1, sigma) @ values
        assert forecast == pytest.approx(21.0 + share * 2.0 * 3.0)


def test_order_one_at_the_exact_scale_is_taylor() -> None:
    times = [9.0, 7.0, 2.0]
    np.testing.assert_allclose(
        hermite_weights(times, 12.0, 1, math.sqrt(0.5)), taylor_weights(times, 12.0, 1)
    )


def test_order_two_does_not_return_the_anchor() -> None:
    """At k = 0 it is off by sigma^2 D_2."""
    values = np.array([4.0, 1.0, 0.0])
    assert hermite_weights([2.0, 1.0, 0.0], 2.0, 2) @ values == pytest.approx(4.0 - 0.25 * 2.0)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.inf, math.nan])
def test_scale_must_be_positive(sigma: float) -> None:
    with pytest.raises(ValueError, match="sigma must be positive"):
        hermite_weights([1.0, 0.0], 2.0, 1, sigma)
