"""The Markdown table, and ties."""

from __future__ import annotations

import pytest
from score_records import record

from dit_accel.scoring.table import is_tie, score_table, value_text


def test_differences_within_the_intervals_are_ties() -> None:
    a = record("fd_ref", 10.0, interval=(9.0, 11.0))
    assert is_tie(a, record("fd_ref", 11.3, interval=(10.3, 12.3)))  # 1.3 < sqrt(1 + 1)
    assert not is_tie(a, record("fd_ref", 11.5, interval=(10.5, 12.5)))


def test_spreads_stand_in_for_intervals() -> None:
    a = record("kid", 1.0, interval=None, std=0.5)
    assert is_tie(a, record("kid", 1.9, interval=None, std=0.0))
    assert not is_tie(a, record("kid", 2.1, interval=None, std=0.0))


def test_without_any_interval_only_equals_tie() -> None:
    a = record("precision", 0.5, interval=None)
    assert is_tie(a, record("precision", 0.5, interval=None))
    assert not is_tie(a, record("precision", 0.51, interval=None))


def test_infinite_values() -> None:
    infinite = record("psnr", None, interval=None)
    assert is_tie(infinite, infinite)
    assert not is_tie(infinite, record("psnr", 40.0))


@pytest.mark.parametrize(
    ("value", "interval", "text"),
    [
        (1.23456, (1.03456, 1.43456), "1.23 ± 0.20"),
        (123.456, (103.456, 143.456), "123 ± 20"),
        (0.00123, (0.00113, 0.00133), "0.00123 ± 0.00010"),
        (1.0, (1.0, 1.0), "1"),
        (12.34567, None, "12.35"),
        (None, None, "∞"),
    ],
)
def test_as_many_digits_as_mean_something(
    value: float | None, interval: tuple[float, float] | None, text: str
) -> None:
    assert value_text(record("m", value, interval=interval)) == text


def test_rows_are_sets_and_the_best_is_bold_with_its_ties() -> None:
    scores = {
        "dense": [
            record("fd_ref", 1.0, interval=(0.9, 1.1)),
            record("psnr", None, better="higher"),
        ],
        "fast": [record("fd_ref", 5.0, interval=(4.9, 5.1))],
        "quality": [record("fd_ref", 1.05, interval=(0.95, 1.15))],
    }
    lines = score_table(scores).splitlines()
    assert lines[0] == "| set | N | fd_ref ↓ | psnr ↑ |"
    assert lines[2] == "| dense | 256 | **1.00 ± 0.10** | ∞ |"
    assert lines[3] == "| fast | 256 | 5.00 ± 0.10 | – |"
    assert lines[4] == "| quality | 256 | **1.05 ± 0.10** | – |"


def test_other_n_partial_and_forced_are_said_and_never_best() -> None:
    scores = {
        "a": [record("fd_ref", 1.0, n=256)],
        "b": [record("fd_ref", 0.5, n=200, complete=False, forced=True)],
    }
    table = score_table(scores)
    assert "200 (partial)" in table
    assert "forced" in table
    assert "**" not in table
