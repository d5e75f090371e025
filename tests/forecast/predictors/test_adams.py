"""Adams–Bashforth over backward differences."""

import numpy as np
import pytest

from dit_accel.forecast.predictors.adams import adams_weights
from dit_accel.forecast.predictors.polynomial import newton_weights


def test_worked_example() -> None:
    """t^2 at 0, 3, 6 gives 58 at 8, not 64: the slopes are those of the midpoints."""
    nodes = np.array([6.0, 3.0, 0.0])
    assert adams_weights(nodes, 8.0) @ nodes**2 == pytest.approx(58.0)


def test_one_slope_is_the_line() -> None:
    nodes = [6.0, 5.0, 0.0]
    np.testing.assert_allclose(adams_weights(nodes, 8.0, 1), newton_weights(nodes, 8.0, 1))


def test_integral_of_the_line_through_the_slopes() -> None:
    """On uneven gaps: slopes s_0, s_1 held at t_0, t_1, their line integrated to the target."""
    nodes, values, target = [7.0, 5.0, 1.0], np.array([3.0, -1.0, 4.0]), 10.0
    slopes = (values[:-1] - values[1:]) / np.array([2.0, 4.0])
    line = np.polynomial.Polynomial.fit(nodes[:2], slopes, 1).integ()
    expected = values[0] + line(target) - line(nodes[0])
    assert adams_weights(nodes, target) @ values == pytest.approx(expected)
