"""Numbers as people read them."""

import pytest

from dit_accel.reporting import units


@pytest.mark.parametrize(
    ("value", "text"),
    [(118_666_838_016, "118.7 G"), (4.7467e12, "4.747 T"), (1.2e15, "1.2 P"), (512, "512")],
)
def test_macs(value: float, text: str) -> None:
    assert units.macs(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (100, "100 B"), (1536, "1.5 KiB"), (3 * 2**30, "3.0 GiB")]
)
def test_memory(value: float | None, text: str) -> None:
    assert units.memory(value) == text


def test_identical_pictures_have_no_number() -> None:
    assert units.decibels(None) == units.decibels(float("inf")) == "exact"
    assert units.decibels(31.236) == "31.24"
