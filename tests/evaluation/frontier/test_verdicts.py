"""The verdicts against points made by hand, whose answers can be read off."""

from __future__ import annotations

import math

import pytest

from dit_accel.evaluation.frontier.entries import EXACT, Entry, dense_entry
from dit_accel.evaluation.frontier.points import Fidelity, FrontierPoint
from dit_accel.evaluation.frontier.verdicts import (
    fidelity_targets,
    rival_of,
    time_targets,
)
from dit_accel.evaluation.peers.dual_block import CacheDit
from dit_accel.evaluation.peers.first_block import DiffusersFirstBlock
from dit_accel.measure.candidates import Base

DDIM, UNIPC = Base("DDIM", 50), Base("UniPC", 20)


def point(entry: Entry, ratio: float, db: float, reference_db: float = 20.0) -> FrontierPoint:
    def fidelity(value: float) -> Fidelity:
        return Fidelity(value, value, value, (value,))

    quartiles = (ratio, ratio)
    return FrontierPoint(
        entry, ratio, ratio, quartiles, 1.0, 1, 0, fidelity(db), fidelity(reference_db), None
    )


def dense(solver: str, steps: int, ratio: float, db: float, to_ddim: float = 20.0) -> FrontierPoint:
    return point(dense_entry(Base(solver, steps)), ratio, db, to_ddim)


def plan(
    name: str,
    ratio: float,
    db: float,
    to_ddim: float = 20.0,
    *,
    base: Base = UNIPC,
    calibrated: bool = False,
) -> FrontierPoint:
    return point(Entry("plan", name, base, EXACT, calibrated=calibrated), ratio, db, to_ddim)


DENSE = [
    dense("DDIM", 50, 1.0, 38.0, math.inf),
    dense("DDIM", 25, 0.5, 33.0, 35.0),
    dense("DDIM", 10, 0.2, 28.0, 29.0),
    dense("UniPC", 25, 0.52, 39.0),
    dense("UniPC", 20, 0.4, 37.0),
    dense("UniPC", 10, 0.2, 33.0),
]


def test_the_rival_is_the_fastest_dense_run_that_is_as_good() -> None:
    row = plan("a", 0.25, 36.0)
    rival = rival_of(row, [*DENSE, row])
    assert rival.dense is not None and rival.dense.entry.name == "dense, UniPC 20"
    assert rival.gain == pytest.approx(0.4 / 0.25)
    # Three quarters of the way from 33 to 37 dB, in the logarithm of time.
    assert rival.interpolated == pytest.approx(0.2 * 2**0.75 / 0.25)
    assert not rival.loses


@pytest.mark.parametrize(("ratio", "loses"), [(0.39, False), (0.4, True), (0.6, True)])
def test_a_row_loses_to_dense_that_is_as_good_in_no_more_time(ratio: float, loses: bool) -> None:
    row = plan("a", ratio, 37.0)
    assert rival_of(row, [*DENSE, row]).loses is loses


def test_no_dense_run_may_be_as_good() -> None:
    row = plan("a", 0.9, 40.0)
    rival = rival_of(row, [*DENSE, row])
    assert (rival.dense, rival.gain, rival.interpolated, rival.loses) == (None, None, None, False)


def test_a_poor_row_is_measured_against_the_fastest_dense_run() -> None:
    row = plan("a", 0.1, 25.0)
    rival = rival_of(row, [*DENSE, row])
    assert rival.gain == pytest.approx(2.0) and rival.interpolated == pytest.approx(2.0)


def test_time_targets_count_calibrated_plans_apart_and_no_peers() -> None:
    peer = Entry("peer", "p", DDIM, EXACT, DiffusersFirstBlock())
    rows = [
        *DENSE,
        plan("fitted", 0.2, 38.5, calibrated=True),
        plan("plain", 0.3, 38.0),
        plan("quick", 0.1, 37.9),
        point(peer, 0.05, 39.0),
    ]
    [found, higher] = time_targets(rows, [DDIM, Base("UniPC", 25)])
    assert found.level == 38.0 and found.dense.entry.name == "dense, UniPC 25"
    assert found.best is not None and found.best.entry.label == "fitted"
    assert found.gain(found.best) == pytest.approx(2.6) and found.met
    assert found.uncalibrated is not None and found.uncalibrated.entry.label == "plain"
    assert found.gain(found.uncalibrated) == pytest.approx(0.52 / 0.3)
    assert found.met_uncalibrated
    assert (higher.best, higher.met, higher.met_uncalibrated) == (None, False, False)


@pytest.mark.parametrize(("ratio", "met"), [(0.26, True), (0.27, False)])
def test_half_the_time_is_the_target(ratio: float, met: bool) -> None:
    [found] = time_targets([*DENSE, plan("a", ratio, 38.0)], [DDIM])
    assert found.met is met
    assert found.met_uncalibrated


def test_fidelity_targets_compare_with_each_family_on_the_reference() -> None:
    cache_dit = Entry("peer", "c", DDIM, EXACT, CacheDit())
    elsewhere = Entry("peer", "d", UNIPC, EXACT, CacheDit())
    rows = [
        *DENSE,
        plan("slow", 0.6, 30.0, 44.0, base=DDIM),
        plan("fast", 0.4, 30.0, 39.0, base=DDIM),
        plan("other solver", 0.4, 30.0, 50.0),
        point(cache_dit, 0.625, 30.0, 31.0),
        point(elsewhere, 0.4, 30.0, 60.0),
    ]
    [two, five] = fidelity_targets(rows, DDIM, [2.0, 5.0])
    assert two.best is not None and two.best.entry.label == "fast"
    # cache-dit has nothing as fast: its fastest row, which is slower, stands for it.
    assert two.rivals == pytest.approx({"DDIM with fewer steps": 35.0, "cache_dit": 31.0})
    assert two.margin == pytest.approx(4.0) and two.met
    assert five.best is None and five.margin is None and not five.met
    assert five.rivals["DDIM with fewer steps"] == pytest.approx(29.0)


def test_rivals_are_interpolated_between_their_rows() -> None:
    rows = [*DENSE, plan("a", 0.3, 30.0, 34.0, base=DDIM)]
    [found] = fidelity_targets(rows, DDIM, [1 / 0.1**0.5])
    assert found.rivals["DDIM with fewer steps"] == pytest.approx(32.0)
    assert found.margin == pytest.approx(2.0) and not found.met


def test_a_plan_that_changes_nothing_is_above_all_rivals() -> None:
    rows = [*DENSE, plan("a", 0.5, 30.0, math.inf, base=DDIM)]
    [found] = fidelity_targets(rows, DDIM, [2.0])
    assert found.met
