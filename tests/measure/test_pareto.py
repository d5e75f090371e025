"""The bar: dense with fewer steps at equal time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dit_accel.measure.pareto import Point, pareto_front, quality_at

FINITE = st.floats(0.01, 100)
POINTS = st.lists(st.builds(Point, FINITE, FINITE), min_size=1, max_size=12)


def test_front_drops_what_is_slower_and_worse() -> None:
    points = [Point(1, 20), Point(2, 19), Point(2, 30), Point(3, 30), Point(4, 35)]
    assert pareto_front(points) == [Point(1, 20), Point(2, 30), Point(4, 35)]


def test_interpolation_in_the_logarithm_of_time() -> None:
    front = [Point(1, 20), Point(4, 30)]
    assert quality_at(front, 2) == pytest.approx(25)


def test_outside_the_front() -> None:
    front = [Point(1, 20), Point(4, 30)]
    assert quality_at(front, 0.5) is None
    assert quality_at(front, 40) == 30
    assert quality_at([], 1) is None


@given(POINTS, FINITE)
def test_the_bar_is_no_lower_than_any_faster_dense_run(points: list[Point], seconds: float) -> None:
    bar = quality_at(pareto_front(points), seconds)
    faster = [point.quality for point in points if point.seconds <= seconds]
    assert (bar is None) == (not faster)
    assert bar is None or bar >= max(faster) - 1e-9
