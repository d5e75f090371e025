"""Interleaving, medians and spreads."""

import time

import pytest
import torch

from dit_accel.measure.timing import Timing, interleaved, timed

CPU = torch.device("cpu")


def test_rounds_are_interleaved_and_reversed() -> None:
    order: list[str] = []
    calls = {name: (lambda n=name: order.append(n)) for name in "abc"}
    interleaved(calls, 3, CPU)
    assert "".join(order) == "abccbaabc"


def test_every_round_is_kept_and_reported() -> None:
    finished: list[str] = []
    timings = interleaved({"a": lambda: None, "b": lambda: None}, 4, CPU, finished.append)
    assert {name: len(timing.seconds) for name, timing in timings.items()} == {"a": 4, "b": 4}
    assert len(finished) == 8


def test_timed_measures_and_returns() -> None:
    seconds, result = timed(lambda: time.sleep(0.02) or "done", CPU)
    assert seconds >= 0.02
    assert result == "done"


def test_median_and_interquartile_range() -> None:
    timing = Timing((1.0, 2.0, 3.0, 4.0, 100.0))
    assert timing.median == 3.0
    assert timing.spread == pytest.approx(2.0)
    assert timing.to_dict()["rounds_s"] == [1.0, 2.0, 3.0, 4.0, 100.0]
