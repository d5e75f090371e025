"""The Markdown table."""

from __future__ import annotations

import pytest
from score_records import record

from dit_accel.scoring.table import score_table, value_text


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


def test_forced_and_partial_scores_of_equal_n_are_never_best() -> None:
    scores = {
        "a": [record("fd_ref", 1.0, interval=(0.9, 1.1))],
        "b": [record("fd_ref", 2.0, interval=(1.9, 2.1))],
        "forced": [record("fd_ref", 0.5, interval=(0.4, 0.6), forced=True)],
        "part": [record("fd_ref", 0.5, interval=(0.4, 0.6), complete=False)],
    }
    lines = score_table(scores).splitlines()
    assert [line.partition(" ")[2].split(" |")[0] for line in lines if "**" in line] == ["a"]
