"""Does a row earn its place? Its rival is the fastest dense run that is as good, by the mean dB.

Two targets, each computed from the same points:

* *time*: how long the fastest dense (solver, steps) takes to come as near to the converged run as
  a goal does, divided by how long the fastest of our rows takes;
* *fidelity*: at a speed-up over the dense reference, how much nearer to the reference's pictures
  our best plan on it is than its solver with fewer steps, and than each peer on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dit_accel.evaluation.frontier.points import FrontierPoint
from dit_accel.measure.candidates import Base
from dit_accel.measure.pareto import Point, pareto_front, quality_at

TIME_FACTOR, TIME_FACTOR_UNCALIBRATED = 2.0, 1.6
MARGIN_DB = 3.0


@dataclass(frozen=True)
class Rival:
    """A row beside dense with fewer steps.

    Attributes:
        dense: the fastest dense run with at least its fidelity to the converged run; `None` where
            no dense run has it.
        gain: seconds of that run divided by the row's.
        interpolated: the same with dense of as many steps as would have just its fidelity, between
            the measured ones in the logarithm of time: less than `gain`, which gets what the grid
            of steps leaves over.
    """

    dense: FrontierPoint | None
    gain: float | None
    interpolated: float | None

    @property
    def loses(self) -> bool:
        """Whether dense with fewer steps is as good in no more time."""
        return self.gain is not None and self.gain <= 1


@dataclass(frozen=True)
class TimeTarget:
    """How fast a goal's error is reached.

    Attributes:
        goal: the dense run whose error is to be reached.
        level: its PSNR to the converged run.
        dense: the fastest dense run that reaches it.
        best, uncalibrated: the fastest row of ours that does; of those without calibration.
    """

    goal: Base
    level: float
    dense: FrontierPoint
    best: FrontierPoint | None
    uncalibrated: FrontierPoint | None

    def gain(self, point: FrontierPoint | None) -> float | None:
        """Dense seconds divided by those of a row."""
        return None if point is None else self.dense.ratio / point.ratio

    @property
    def met(self) -> bool:
        """Half the time of dense or less, by any of our rows."""
        gain = self.gain(self.best)
        return gain is not None and gain >= TIME_FACTOR

    @property
    def met_uncalibrated(self) -> bool:
        """1/1.6 of the time of dense or less, without calibration."""
        gain = self.gain(self.uncalibrated)
        return gain is not None and gain >= TIME_FACTOR_UNCALIBRATED


@dataclass(frozen=True)
class FidelityTarget:
    """Fidelity to the reference at a speed-up over it.

    Attributes:
        speed_up: at least that of ours, at most that of the rivals.
        best: our plan on the reference that is nearest to it; `None` where none is as fast.
        rivals: PSNR of each family there, interpolated between its rows; of its fastest row where
            none is as fast.
    """

    speed_up: float
    best: FrontierPoint | None
    rivals: dict[str, float]

    @property
    def margin(self) -> float | None:
        """By how much ours is above the best rival, dB."""
        if self.best is None or not self.rivals:
            return None
        return self.best.reference.mean - max(self.rivals.values())

    @property
    def met(self) -> bool:
        """3 dB or more."""
        return self.margin is not None and self.margin >= MARGIN_DB


def rival_of(point: FrontierPoint, points: Sequence[FrontierPoint]) -> Rival:
    """Find dense with at least the fidelity of `point`."""
    level = point.converged.mean
    dense = fastest_reaching(_of_kind(points, "dense"), level)
    seconds = _seconds_to_reach(_of_kind(points, "dense"), level)
    return Rival(
        dense=dense,
        gain=None if dense is None else dense.ratio / point.ratio,
        interpolated=None if seconds is None else seconds / point.ratio,
    )


def fastest_reaching(points: Iterable[FrontierPoint], level: float) -> FrontierPoint | None:
    """The fastest row whose fidelity to the converged run is at least `level`."""
    reaching = (point for point in points if point.converged.mean >= level)
    return min(reaching, key=lambda point: point.ratio, default=None)


def time_targets(points: Sequence[FrontierPoint], goals: Sequence[Base]) -> list[TimeTarget]:
    """One target a goal; each goal is a dense row, so that dense always reaches it."""
    found = []
    plans = _of_kind(points, "plan")
    for goal in goals:
        dense = _of_kind(points, "dense")
        level = next(point.converged.mean for point in dense if point.entry.base == goal)
        rival = fastest_reaching(dense, level)
        assert rival is not None  # the goal itself
        uncalibrated = [point for point in plans if not point.entry.calibrated]
        best, plain = fastest_reaching(plans, level), fastest_reaching(uncalibrated, level)
        found.append(TimeTarget(goal, level, rival, best, plain))
    return found


def fidelity_targets(
    points: Sequence[FrontierPoint], reference: Base, speed_ups: Sequence[float]
) -> list[FidelityTarget]:
    """One target a speed-up, of rows whose own dense run is the reference."""
    ours = [point for point in _of_kind(points, "plan") if point.entry.base == reference]
    families = _families(points, reference)
    found = []
    for speed_up in speed_ups:
        fast = [point for point in ours if point.speed_up >= speed_up]
        best = max(fast, key=lambda point: point.reference.mean, default=None)
        rivals = {name: _quality_at(rows, 1 / speed_up) for name, rows in families.items()}
        found.append(FidelityTarget(speed_up, best, rivals))
    return found


def _families(points: Sequence[FrontierPoint], reference: Base) -> dict[str, list[FrontierPoint]]:
    """The reference's solver with fewer steps, and each kind of peer on the reference."""
    families: dict[str, list[FrontierPoint]] = {}
    for point in points:
        entry = point.entry
        if math.isinf(point.reference.mean):
            continue  # the reference itself, or a peer that never acted
        if entry.kind == "dense" and entry.base.solver == reference.solver:
            families.setdefault(f"{reference.solver} with fewer steps", []).append(point)
        elif entry.peer is not None and entry.base == reference:
            families.setdefault(entry.peer.model_dump()["kind"], []).append(point)
    return families


def _quality_at(rows: Sequence[FrontierPoint], ratio: float) -> float:
    front = pareto_front(Point(row.ratio, row.reference.mean) for row in rows)
    reached = quality_at(front, ratio)
    return front[0].quality if reached is None else reached


def _seconds_to_reach(dense: Iterable[FrontierPoint], level: float) -> float | None:
    """The front of dense read the other way round, in units of the reference's seconds."""
    front = pareto_front(
        Point(row.ratio, row.converged.mean) for row in dense if math.isfinite(row.converged.mean)
    )
    if not front or front[-1].quality < level:
        return None
    qualities = [point.quality for point in front]
    times = np.log([point.seconds for point in front])
    return float(np.exp(np.interp(level, qualities, times)))


def _of_kind(points: Iterable[FrontierPoint], kind: str) -> list[FrontierPoint]:
    return [point for point in points if point.entry.kind == kind]
