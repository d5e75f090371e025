"""Sets of computed steps of published schedules."""

from itertools import pairwise

import pytest

from dit_accel.forecast.decisions.static_masks import (
    Mask,
    bins_mask,
    fora_mask,
    interval_mask,
    resampled_steps,
    toca_mask,
    toca_period,
)


def drawn(mask: Mask) -> str:
    """F where computed, a dot where not."""
    return "".join("F" if computed else "." for computed in mask)


def test_fora() -> None:
    mask = fora_mask(50, 3)
    assert drawn(mask) == "FF" + "..F" * 16 and sum(mask) == 18
    assert drawn(fora_mask(6, 4)) == "FF...F"
    assert all(fora_mask(7, 1))


@pytest.mark.parametrize(("interval", "count"), [(3, 18), (4, 14), (5, 11)])
def test_taylorseer(interval: int, count: int) -> None:
    mask = interval_mask(50, interval, first=2)
    assert sum(mask) == count
    assert drawn(mask).startswith("FF" + "." * (interval - 1) + "F.")
    if interval == 3:
        assert mask == fora_mask(50, 3)


def test_taylorseer_does_not_protect_the_end() -> None:
    assert drawn(interval_mask(8, 4)) == "F...F..."


def test_diffusers_taylorseer_as_bins() -> None:
    """50 steps, interval 5, the first 3 computed: 3, then every fifth from step 4 on."""
    assert sum(bins_mask([3, *[1] * 10], [1, *[4] * 9])) == 13
    assert len(bins_mask([3, *[1] * 10], [1, *[4] * 9])) == 50


@pytest.mark.parametrize(
    ("computed", "forecast", "pattern"),
    [
        ([8, 3, 3, 2, 1, 1], [1, 2, 2, 2, 3], "FFFFFFFF.FFF..FFF..FF..F...F"),
        ([6, 2, 2, 2, 2, 1], [1, 3, 3, 3, 3], "FFFFFF.FF...FF...FF...FF...F"),
        ([6, 1, 1, 1, 1, 1], [1, 3, 4, 5, 4], "FFFFFF.F...F....F.....F....F"),
        ([4, 1, 1, 1, 1], [2, 5, 6, 7], "FFFF..F.....F......F.......F"),
    ],
)
def test_cache_dit_presets(computed: list[int], forecast: list[int], pattern: str) -> None:
    mask = bins_mask(computed, forecast)
    assert drawn(mask) == pattern and len(mask) == 28


def test_toca_periods() -> None:
    assert toca_period(48, 50, 3) == 5
    assert toca_period(5, 50, 3) == 2
    assert [toca_period(s, 50, 3) for s in range(10, 20)] == [2] * 10
    assert toca_period(20, 50, 3) != toca_period(19, 50, 3)


def test_toca_goes_by_the_period_of_the_last_full_step() -> None:
    mask = toca_mask(50, 3)
    computed = [countdown for countdown, full in zip(range(49, -1, -1), mask, strict=True) if full]
    assert computed[:3] == [49, 45, 44]
    # Of 45 on the period is 4; every full step divides by the period that the one before has set.
    for before, countdown in pairwise(computed):
        assert countdown % toca_period(before, 50, 3) == 0
    # In the sensitive zone every second step.
    assert [s for s in computed if 10 <= s < 19] == [18, 16, 14, 12, 10]


def test_wrong_numbers_are_named() -> None:
    with pytest.raises(ValueError, match="0 steps and interval 3"):
        fora_mask(0, 3)
    with pytest.raises(ValueError, match="interval 0"):
        interval_mask(5, 0)
    with pytest.raises(ValueError, match="first >= 1, got 0"):
        interval_mask(5, 2, first=0)
    for bins in (([], []), ([1], [1, 1]), ([1, 0], [2]), ([1, 1, 1], [1])):
        with pytest.raises(ValueError, match="alternate"):
            bins_mask(*bins)


def test_steps_of_another_run_lie_where_those_of_the_list_lay() -> None:
    assert resampled_steps([0, 3, 9], 10, 10) == (0, 3, 9)
    assert resampled_steps([0, 3, 9], 10, 28) == (0, 9, 27)
    assert resampled_steps([0, 3, 4, 9], 10, 4) == (0, 1, 3)  # two fall into one
    assert resampled_steps([0, 3, 9], 10, 1) == (0,)
    assert resampled_steps([0], 1, 5) == (0,)
