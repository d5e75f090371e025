"""SmoothCache's greedy schedule."""

import numpy as np
import pytest

from dit_accel.forecast.decisions.smooth import smooth_mask


def test_worked_example() -> None:
    mask = smooth_mask([[0.05, 0.12, 0.25]] * 7, 0.15)
    assert mask == (True, False, False, True, False, False, True)


def test_error_is_read_at_the_reused_step() -> None:
    """Only step 3 may be taken from step 2."""
    errors = np.ones((5, 3))
    errors[3, 0] = 0.1
    assert smooth_mask(errors, 0.2) == (True, True, True, False, True)


def test_the_largest_lag_counts() -> None:
    errors = np.tile([1.0, 0.1, 1.0], (6, 1))
    assert smooth_mask(errors, 0.2) == (True, False, False, True, False, True)


def test_first_and_last_step_are_computed() -> None:
    for limit, count in ((1.0, 3), (0.0, 6)):
        mask = smooth_mask([[0.5, 0.5, 0.5]] * 6, limit)
        assert mask[0] and mask[-1] and sum(mask) == count


def test_what_was_not_measured_is_computed() -> None:
    assert all(smooth_mask([[float("nan")] * 3] * 4, 1.0))


def test_errors_must_be_a_table() -> None:
    with pytest.raises(ValueError, match=r"\[steps, lags\], got \(3,\)"):
        smooth_mask(np.zeros(3), 0.1)
