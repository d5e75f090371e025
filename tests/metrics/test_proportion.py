"""Wilson's interval, against SciPy's and against its definition."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from dit_accel.metrics.arrays import MetricError
from dit_accel.metrics.proportion import wilson_interval

counts = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_equals_scipys_interval(trial: tuple[int, int], level: float) -> None:
    found = wilson_interval(*trial, level=level)
    expected = binomtest(*trial).proportion_ci(confidence_level=level, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.level == level


@given(counts)
def test_lies_in_the_unit_interval_around_the_share(trial: tuple[int, int]) -> None:
    found, share = wilson_interval(*trial), trial[0] / trial[1]
    assert 0 <= found.low <= share + 1e-12 and share - 1e-12 <= found.high <= 1
    assert found.low < found.high


def test_the_share_lies_z_standard_errors_from_either_end() -> None:
    found = wilson_interval(70, 100)
    for end in (found.low, found.high):
        standard_error = math.sqrt(end * (1 - end) / 100)
        assert abs(0.7 - end) == pytest.approx(NormalDist().inv_cdf(0.975) * standard_error)


@pytest.mark.parametrize("trial", [(0, 0), (-1, 3), (4, 3)])
def test_refuses_what_is_no_share(trial: tuple[int, int]) -> None:
    with pytest.raises(MetricError, match="hits"):
        wilson_interval(*trial)
