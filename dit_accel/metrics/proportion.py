"""Confidence interval of a share: so many of so many pictures."""

from __future__ import annotations

import math
from statistics import NormalDist

from dit_accel.errors import mismatch
from dit_accel.metrics.arrays import MetricError
from dit_accel.metrics.estimate import Interval


def wilson_interval(hits: int, count: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval of ``hits / count``, for independent trials.

    It holds all shares p from which the observed one, h, lies no further than z standard errors
    *of p*: ``|h - p| <= z sqrt(p (1 - p) / n)``. Solved for p, its centre is
    ``(h + z^2 / 2n) / (1 + z^2 / n)`` and its half width
    ``z sqrt(h (1 - h) / n + z^2 / 4n^2) / (1 + z^2 / n)``. Unlike ``h +- z s`` it never leaves
    [0, 1], and it has a width where all or none were hit (E. B. Wilson, "Probable inference, the
    law of succession, and statistical inference", 1927).

    Args:
        hits: successes.
        count: n, trials.
        level: wanted coverage.

    Raises:
        MetricError: there was no trial, or not ``0 <= hits <= count``.
    """
    if not 0 <= hits <= count or count == 0:
        expected = f"0 to {count} of at least one trial"
        raise MetricError(f"hits: {mismatch(hits, expected, 'count the trials again')}")
    share, z = hits / count, NormalDist().inv_cdf((1 + level) / 2)
    scale = 1 + z**2 / count
    centre = (share + z**2 / (2 * count)) / scale
    half = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2) / scale
    # Rounding alone could leave the ends of [0, 1].
    return Interval(max(0.0, centre - half), min(1.0, centre + half), level)
