"""MagCache's masks."""

import pytest
import torch
from diffusers.hooks.mag_cache import FLUX_MAG_RATIOS, nearest_interp

from dit_accel.forecast.decisions.magnitude import (
    magnitude_mask,
    magnitude_ratio,
    resampled_ratios,
)


@pytest.mark.parametrize(
    ("threshold", "max_skips", "retention", "pattern"),
    [
        (0.06, 3, 0.2, "FFFFFF.F.F...F...F...F..F.FF"),
        (0.24, 5, 0.1, "FFF..F...F.....F.....F....F."),
    ],
)
def test_flux(threshold: float, max_skips: int, retention: float, pattern: str) -> None:
    mask = magnitude_mask(FLUX_MAG_RATIOS.tolist(), threshold, max_skips, retention)
    assert "".join("F" if computed else "." for computed in mask) == pattern


def test_the_first_step_is_always_computed() -> None:
    assert magnitude_mask([1.0] * 5, 1.0, 9, 0.0) == (True, False, False, False, False)


def test_what_is_not_a_number_is_computed() -> None:
    assert all(magnitude_mask([float("nan")] * 4, 1.0, 9, 0.0))


def test_threshold_zero_skips_only_what_does_not_change() -> None:
    assert magnitude_mask([1.0, 1.0, 1.5, 1.0], 0.0, 9, 0.0) == (True, False, True, False)


def test_ratio_is_a_mean_over_tokens() -> None:
    previous = torch.tensor([[[3.0, 4.0], [1.0, 0.0]], [[0.0, 0.0], [2.0, 0.0]]])
    residual = torch.tensor([[[6.0, 8.0], [0.0, 3.0]], [[9.0, 9.0], [1.0, 0.0]]])
    assert magnitude_ratio(residual, previous).tolist() == [2.5, 0.75]


@pytest.mark.parametrize("num_steps", [1, 2, 10, 20, 28, 50])
def test_another_number_of_steps_takes_the_nearest_ratios(num_steps: int) -> None:
    expected = nearest_interp(FLUX_MAG_RATIOS, num_steps).tolist()
    assert list(resampled_ratios(FLUX_MAG_RATIOS.tolist(), num_steps)) == expected


def test_resampling_by_hand() -> None:
    assert resampled_ratios([1.0, 2.0, 3.0, 4.0, 5.0], 3) == (1.0, 3.0, 5.0)
    assert resampled_ratios([1.0, 2.0], 4) == (1.0, 1.0, 2.0, 2.0)
    assert resampled_ratios([7.0], 3) == (7.0, 7.0, 7.0)
