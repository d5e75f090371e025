"""Dense with fewer steps as a curve of (time, quality): the bar that every plan has to clear."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Point:
    """One run: seconds of its loop, and a score of which more is better."""

    seconds: float
    quality: float


def pareto_front(points: Iterable[Point]) -> list[Point]:
    """The points that no faster (or equally fast) one reaches, fastest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.seconds, -p.quality)):
        if not front or point.quality > front[-1].quality:
            front.append(point)
    return front


def quality_at(front: list[Point], seconds: float) -> float | None:
    """Dense quality at an equal time, linear between the front's points in the logarithm of time.

    ``None`` where every dense run takes longer: nothing was measured there to compare with. Beyond
    the slowest point its quality holds, since whoever has more time may still choose that run.
    """
    if not front or seconds < front[0].seconds:
        return None
    times = [point.seconds for point in front]
    return float(np.interp(np.log(seconds), np.log(times), [point.quality for point in front]))
