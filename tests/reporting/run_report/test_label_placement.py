"""Labels of a plot do not cover each other, and stay inside."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dit_accel.reporting.run_report.axes import Axis, padded, padded_log
from dit_accel.reporting.run_report.label_placement import FONT_SIZE, Box, place_labels, text_width

BOUNDS = Box(50, 30, 350, 380)
spots = st.tuples(st.floats(50, 350), st.floats(30, 380))


@settings(max_examples=15, deadline=None)
@given(st.lists(spots, min_size=1, max_size=6))
def test_labels_stay_apart_and_inside(points: list[tuple[float, float]]) -> None:
    named = [(f"run number {index}", point) for index, point in enumerate(points)]
    labels = place_labels(named, points, BOUNDS)
    boxes = [
        Box(label.x, label.y - 0.95 * FONT_SIZE, label.x + text_width(label.text), label.y + 3)
        for label in labels
    ]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    for box in boxes:
        assert box.left >= BOUNDS.left and box.right <= BOUNDS.right


@given(st.floats(1e-4, 1e4), st.floats(1.0, 1e4))
def test_logarithmic_axis_has_plain_ticks_inside(low: float, span: float) -> None:
    axis = Axis(*padded_log([low, low * span]), 0, 100, logarithmic=True)
    ticks = axis.ticks()
    assert all(-1e-6 <= pixel <= 100 + 1e-6 for pixel, _ in ticks)
    assert all(float(text) > 0 for _, text in ticks)


@given(st.floats(-1e3, 1e3), st.floats(1e-4, 1e3))
def test_linear_ticks_say_where_they_stand(low: float, span: float) -> None:
    axis = Axis(*padded([low, low + span]), 200, 0)
    ticks = axis.ticks()
    assert len({text for _, text in ticks}) == len(ticks) >= 2
    for pixel, text in ticks:
        assert axis(float(text)) == pytest.approx(pixel, abs=0.5)


def test_wide_letters_count_as_wide() -> None:
    assert text_width("🦊") > text_width("m") > text_width("i")
