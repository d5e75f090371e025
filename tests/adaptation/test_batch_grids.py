"""Batches on other grids than the schedule's: which, how often, and what they are for."""

from __future__ import annotations

from collections import Counter

import pytest
from tiny_adaptations import POOLED, SPARSE, document

from dit_accel.adaptation.config import AdaptationConfig
from dit_accel.adaptation.prepare import prepare
from dit_accel.tokens.grid import Grid

PLAN = {"density": SPARSE}
SMALL, MIDDLE, FULL = Grid(2, 2), Grid(4, 4), Grid(8, 8)


@pytest.mark.parametrize("train", ["new", "lora"])
def test_which_grids_are_drawn_and_how_often(open_session, train):
    draws = open_session(train=train, plan=PLAN, other_grids=0.3).draws
    assert draws.grids.scheduled == (SMALL, MIDDLE, MIDDLE, FULL)
    assert draws.steps == (0, 1, 2), "the dense step is the teacher's own"
    for step, scheduled in enumerate(draws.grids.scheduled[:3]):
        seen = Counter(draws.grid(number, step) for number in range(600))
        assert set(seen) == {SMALL, MIDDLE}
        assert seen[scheduled] == pytest.approx(0.7 * 600, rel=0.1)
        assert [draws.grid(number, step) for number in range(9)] == [
            draws.grid(number, step) for number in range(9)
        ]


def test_none_are_where_none_are_asked_for(open_session):
    draws = open_session(train="all", plan=PLAN, other_grids=0.0).draws
    for step, scheduled in enumerate(draws.grids.scheduled):
        assert {draws.grid(number, step) for number in range(99)} == {scheduled}


def test_the_batch_runs_on_what_was_drawn(open_session):
    session = open_session(train="all", plan=PLAN, other_grids=0.5)
    seen: list[int] = []
    block = session.student.transformer.transformer_blocks[0]
    block.ff.register_forward_hook(lambda _, args, out: seen.append(out.shape[1]))
    drawn = []
    for number in range(24):
        session.backward(number, 1.0)
        drawn.append(session.draws.grid(number, session.draws.training(number)[1]).size)
    assert seen == drawn


def test_tokens_are_never_merged_and_pooled_at_once(tiny_dit, tmp_path):
    plan = {"density": POOLED, "merge": {"kind": "tome2d", "ratio": 0.5, "steps": [0.5, 1.0]}}
    grids = prepare(AdaptationConfig(**document(tiny_dit, tmp_path, plan=plan))).grids
    assert grids.others == ()
