"""Student's t by finite sums, against SciPy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from dit_accel.metrics.arrays import MetricError
from dit_accel.metrics.mean_interval import mean_interval, student_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 31, 32, 255])
@pytest.mark.parametrize("probability", [0.6, 0.95, 0.975, 0.995])
def test_quantiles_are_scipys(freedom: int, probability: float) -> None:
    expected = stats.t.ppf(probability, freedom)
    assert student_quantile(probability, freedom) == pytest.approx(expected, rel=1e-9)


def test_the_interval_is_the_textbooks() -> None:
    values = np.random.default_rng(0).normal(35, 2, 32)
    found = mean_interval(values.tolist(), level=0.9)
    low, high = stats.t.interval(0.9, 31, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)


def test_it_covers_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    sets = draw.normal(0, 1, (1000, 4))
    covered = [(i := mean_interval(row.tolist())).low <= 0 <= i.high for row in sets]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("values", [[1.0], [1.0, math.inf], [1.0, math.nan]])
def test_what_has_no_spread_is_refused(values: list[float]) -> None:
    with pytest.raises(MetricError, match="two or more finite numbers"):
        mean_interval(values)
