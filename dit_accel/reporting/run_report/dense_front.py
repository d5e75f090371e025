"""Dense with fewer steps as a curve of time and score, and where a plan lies beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dit_accel.measure.pareto import Point, pareto_front, quality_at
from dit_accel.reporting.run_report.model import Report, Run
from dit_accel.reporting.run_report.scores import Score, comparable

Outcome = Literal["wins", "ties", "loses", "unresolved", "unrivalled"]


@dataclass(frozen=True)
class DenseFront:
    """The dense runs that no faster one reaches, fastest first.

    Attributes:
        points: seconds an image, and the score turned so that more is better.
        half_widths: half the interval of each point's score; 0 where it has none.
        slowest: seconds of the slowest dense run that was scored, on the front or not.
    """

    points: tuple[Point, ...]
    half_widths: tuple[float, ...]
    slowest: float

    def quality(self, seconds: float) -> float | None:
        """What dense reaches in so many seconds; ``None`` where every dense run takes longer."""
        return quality_at(list(self.points), seconds)

    def half_width(self, seconds: float) -> float:
        """Uncertainty of that, interpolated alike."""
        times = np.log([point.seconds for point in self.points])
        return float(np.interp(math.log(seconds), times, self.half_widths))


@dataclass(frozen=True)
class EqualTime:
    """A plan beside dense with fewer steps of the same time.

    Attributes:
        score: the plan's.
        dense_value: what dense reaches; ``None`` where it was not measured so fast.
        resolution: differences up to this are ties; ``None`` without any interval.
        spare: seconds that the plan takes beyond every dense run that was scored. Dense with the
            steps that would fill them was not measured, which flatters the plan.
    """

    score: Score
    outcome: Outcome
    dense_value: float | None = None
    resolution: float | None = None
    spare: float = 0.0

    @property
    def difference(self) -> float | None:
        """By how much the plan is better; negative where it is worse."""
        if self.dense_value is None:
            return None
        sign = 1 if self.score.higher_is_better else -1
        return sign * (self.score.value - self.dense_value)


def dense_front(report: Report, like: Score) -> DenseFront:
    """The front of all dense runs in the column and with the N of ``like``.

    Where scores are of pictures beside the baseline's, its own are left out: they are exact by
    definition, which is no measurement. `comparable` sees to that.
    """
    scored = [
        (Point(run.latency.seconds, score.quality), score.half_width or 0.0)
        for run in report.dense
        if run.latency is not None
        and (score := run.score(like)) is not None
        and comparable(score, like)
        and math.isfinite(score.value)
    ]
    widths = dict(scored)
    front = pareto_front(widths)
    slowest = max((point.seconds for point in widths), default=0.0)
    return DenseFront(tuple(front), tuple(widths[point] for point in front), slowest)


def at_equal_time(report: Report, plan: Run, like: Score) -> EqualTime | None:
    """Compare ``plan`` with dense of equal time; ``None`` where it has no score or no time."""
    score = plan.score(like)
    if score is None or plan.latency is None or not comparable(score, like):
        return None
    front, seconds = dense_front(report, like), plan.latency.seconds
    quality = front.quality(seconds)
    if quality is None:
        return EqualTime(score, "unrivalled")
    widths = [w for w in (score.half_width, front.half_width(seconds)) if w]
    resolution = math.hypot(*widths) if widths else None
    value = quality if score.higher_is_better else -quality
    outcome = _outcome(score.quality - quality, resolution)
    return EqualTime(score, outcome, value, resolution, max(0.0, seconds - front.slowest))


def _outcome(difference: float, resolution: float | None) -> Outcome:
    if resolution is None:
        return "unresolved"
    if abs(difference) <= resolution:
        return "ties"
    return "wins" if difference > 0 else "loses"
