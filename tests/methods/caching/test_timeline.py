"""When rows were computed, and where their snapshots lie."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dit_accel.methods.caching.timeline import RowTimeline
from dit_accel.tokens.grid import Grid


def test_a_timeline_holds_the_last_steps_of_one_grid() -> None:
    timeline = RowTimeline(2)
    for step in (0, 2, 5):
        timeline.record(step, None)
    assert timeline.steps == (5, 2)
    timeline.record(7, Grid(4, 4))
    assert timeline.steps == (7,)
    timeline.record(8, Grid(4, 4))
    assert timeline.steps == (8, 7)


@given(st.integers(1, 5), st.integers(1, 12))
def test_weights_lie_where_the_snapshots_do(capacity: int, pushes: int) -> None:
    """A ring that is simulated: each snapshot is the step it was made at."""
    timeline, ring = RowTimeline(capacity), [-1] * capacity
    for step in range(pushes):
        timeline.record(step, None)
        ring[timeline.slot] = step
    weights = [10.0**age for age in range(len(timeline.steps))]
    placed = timeline.in_slots(weights)
    for age, step in enumerate(timeline.steps):
        assert placed[ring.index(step)] == 10.0**age
    assert sum(weight != 0 for weight in placed) == len(timeline.steps)
