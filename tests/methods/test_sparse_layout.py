"""Layouts as data: the paper's own, defaults of any depth, and what is refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dit_accel.errors import PlanError
from dit_accel.methods.sparse_density import SparseDensity
from dit_accel.methods.sparse_layout import SparseLayout, default_layout


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (28, "2/4x[1,3,1,1]/2"),
        (24, "2/4x[1,2,1,1]/2"),
        (12, "1/2x[1,2,1,1]/1"),
        (10, "1/2x[1,1,1,1]/1"),
        (8, "1/2x[1,1,1,0]/1"),
        (6, "1/1x[1,1,1,1]/1"),
        (4, "1/1x[1,0,1,0]/1"),
        (3, "0/1x[1,1,1,0]/0"),
        (2, "0/1x[1,0,1,0]/0"),
    ],
)
def test_defaults(depth: int, expected: str) -> None:
    assert str(default_layout(depth)) == expected


@given(st.integers(2, 200))
def test_a_default_fits_its_depth_and_is_no_single_module_where_two_find_room(depth: int) -> None:
    layout = default_layout(depth)
    layout.check(depth)
    assert len(layout.places()) == depth
    assert layout.segments >= 2 or depth < 8
    assert SparseDensity(pool=2, layout=layout).layout_for(depth) == layout
    if depth >= 8:
        assert layout.places()[0].role == "pool"
        assert layout.places()[-1].role == "dense"


def test_the_roles_of_the_papers_28_blocks() -> None:
    places = default_layout(28).places()
    found = {
        role: [i for i, place in enumerate(places) if place.role == role]
        for role in ("pool", "merge", "sparse", "recover", "dense")
    }
    assert found == {
        "pool": [0, 1],
        "merge": [2, 8, 14, 20],
        "sparse": [3, 4, 5, 9, 10, 11, 15, 16, 17, 21, 22, 23],
        "recover": [6, 12, 18, 24],
        "dense": [7, 13, 19, 25, 26, 27],
    }
    assert default_layout(28).spans == [range(2, 7), range(8, 13), range(14, 19), range(20, 25)]


def test_a_segment_is_entered_once_and_left_before_its_recovery_or_after_its_last_block() -> None:
    layout = SparseLayout(bottom=1, segments=2, group=[0, 2, 0, 1])
    places = layout.places()
    assert [place.enters for place in places] == [False, True, False, False, True, False, False]
    assert [place.leaves for place in places] == [False, False, True, False, False, True, False]
    recovering = SparseLayout(segments=1, group=[1, 1, 1, 0]).places()
    assert Counter(place.leaves for place in recovering) == {False: 3}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"group": [1, 3, 2, 1]}, "one recovery block at most"),
        ({"group": [0, 0, 1, 1]}, "one merge or sparse block at least"),
        ({"group": [1, -1, 1, 1]}, "counts of at least 0"),
        ({"group": [1, 3, 1]}, "group"),
        ({"group": [1, 3, 1, 1], "segments": 0}, "segments"),
    ],
)
def test_impossible_layouts_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        SparseLayout(**({"segments": 2} | fields))


def test_another_depth_is_refused_with_both_and_with_the_default() -> None:
    layout = SparseLayout(pooling=2, segments=4, group=[1, 3, 1, 1], dense=2)
    with pytest.raises(PlanError, match=r"2/4x\[1,3,1,1\]/2 = 28 blocks, expected 12.*1/2x"):
        layout.check(12)
    with pytest.raises(PlanError, match="at least 2"):
        default_layout(1)


def test_what_a_form_cannot_do_is_refused() -> None:
    with pytest.raises(PlanError, match="at most one merge block"):
        SparseDensity(pool=2, layout={"segments": 1, "group": [2, 1, 1, 0]})
    with pytest.raises(PlanError, match="one recovery block"):
        SparseDensity(pool=2, form="paper", layout={"segments": 1, "group": [1, 1, 0, 0]})
