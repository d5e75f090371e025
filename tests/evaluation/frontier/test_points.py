"""Times are related to the reference within a round; fidelities keep every seed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from dit_accel.evaluation.frontier.entries import EXACT, Entry, dense_entry
from dit_accel.evaluation.frontier.journal import Journal, Quality, Round
from dit_accel.evaluation.frontier.points import Fidelity, points_of
from dit_accel.evaluation.frontier.references import decibels
from dit_accel.measure.candidates import Base

REFERENCE = dense_entry(Base("DDIM", 50))
PLAN = Entry("plan", "a", Base("DDIM", 50), EXACT)


def quality(entry: Entry, macs: int, own: bool) -> Quality:
    seeds = (30.0, 32.0)
    return Quality(entry.name, "k", seeds, seeds, seeds if own else None, macs, 7, {})


def test_ratios_are_of_one_round_and_seconds_of_all() -> None:
    rounds = [
        Round("p", {REFERENCE.name: 4.0, PLAN.name: 2.0}, {}, {}),
        Round("p", {REFERENCE.name: 8.0, PLAN.name: 4.0}, {}, {}),  # a neighbour was at work
        Round("q", {REFERENCE.name: 4.0, PLAN.name: 1.6}, {}, {}),
    ]
    found = points_of(
        [REFERENCE, PLAN],
        {REFERENCE.name: quality(REFERENCE, 100, False), PLAN.name: quality(PLAN, 40, True)},
        rounds,
        REFERENCE.name,
    )
    dense, plan = found
    assert (dense.ratio, dense.seconds, dense.forwards, dense.own) == (1.0, 4.0, 50.0, None)
    assert (plan.ratio, plan.seconds, plan.forwards) == (0.5, 2.0, 20.0)
    assert plan.ratio_spread == pytest.approx((0.45, 0.5))
    assert plan.speed_up == 2.0 and plan.nbytes == 7


def test_an_identical_picture_makes_the_mean_infinite() -> None:
    found = Fidelity.of((30.0, None))
    assert math.isinf(found.mean)
    document = {"db": None, "interval": [None, None], "seeds": [30.0, None]}
    assert found.to_dict() == document


def test_pictures_that_are_none_count_nothing() -> None:
    reference = torch.rand(3, 3, 4, 4)
    images = reference.clone()
    images[1] = reference[1].sub(0.1).abs()
    images[2, 0, 0, 0] = torch.nan
    identical, near, broken = decibels(images, reference)
    assert identical is None and broken == 0.0
    assert near == pytest.approx(float(-10 * (images[1] - reference[1]).square().mean().log10()))


def test_the_interval_is_students() -> None:
    found = Fidelity.of((30.0, 32.0))
    half = 12.706204736 * math.sqrt(2) / math.sqrt(2)
    assert (found.mean, found.low, found.high) == pytest.approx((31, 31 - half, 31 + half))


def test_a_journal_gives_back_what_was_put_in(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "sub" / "frontier.jsonl")
    assert list(journal.records()) == []
    line = quality(PLAN, 40, True)
    measured = Round("p", {PLAN.name: 1.0, "gone": 2.0}, {PLAN.name: "t", "gone": "t"}, {})
    journal.append(line)
    journal.append(measured)
    assert list(journal.records()) == [line, measured]
    assert journal.quality({PLAN.name: "k"}) == {PLAN.name: line}
    assert journal.quality({PLAN.name: "another key"}) == {}
    [found] = journal.rounds({PLAN.name: "t"})
    assert found.seconds == {PLAN.name: 1.0}
    assert journal.rounds({PLAN.name: "another machine"}) == []


def test_what_is_cut_off_is_left_out_and_spoils_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "frontier.jsonl")
    journal.append(quality(PLAN, 40, True))
    with journal.path.open("a") as file:
        file.write('{"kind": "round", "pro')
    journal.append(quality(REFERENCE, 100, False))
    assert [record.entry for record in journal.records() if isinstance(record, Quality)] == [
        PLAN.name,
        REFERENCE.name,
    ]
