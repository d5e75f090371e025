"""The newest snapshots of rows that were computed at different steps."""

from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dit_accel.methods.caching.present_rows import NewestFirst
from dit_accel.methods.caching.timeline import RowTimeline


@settings(max_examples=80, deadline=None)
@given(
    steps=st.lists(st.lists(st.integers(0, 30), unique=True, max_size=8), min_size=1, max_size=4),
    capacity=st.integers(1, 4),
    count=st.integers(1, 4),
)
def test_snapshots_come_newest_first(steps: list[list[int]], capacity: int, count: int) -> None:
    """Each snapshot holds the step it was taken at; a row with fewer repeats its oldest."""
    timelines = [RowTimeline(capacity) for _ in steps]
    buffer = torch.zeros(capacity, len(steps), 1, 1)
    for row, taken in enumerate(steps):
        for step in sorted(taken):
            timelines[row].record(step, None)
            buffer[timelines[row].slot, row] = step
    newest = NewestFirst.of(timelines, count, torch.device("cpu"))
    found = newest.take(buffer)[..., 0, 0]
    assert found.shape == newest.times.shape == (count, len(steps))
    for row, taken in enumerate(steps):
        known = sorted(taken, reverse=True)[: min(capacity, count)]
        held = known + [known[-1] if known else 0] * (count - len(known))
        assert found[:, row].tolist() == held
        times = newest.times[:, row].tolist()
        assert times[: len(known)] == known
        assert all(later > earlier for later, earlier in pairwise(times))
