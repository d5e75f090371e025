"""Confidence interval of a mean of few values: Student's t, without SciPy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dit_accel.errors import mismatch
from dit_accel.metrics.arrays import MetricError
from dit_accel.metrics.estimate import Interval

_HALVINGS = 80


def mean_interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """Interval of the mean of independent values, from their own spread.

    Args:
        values: two or more finite numbers.
        level: wanted coverage, exact for normal values.

    Raises:
        MetricError: for fewer values, values that are not finite, or another level.
    """
    if len(values) < 2 or not all(map(math.isfinite, values)):
        raise MetricError(
            f"values: {mismatch(list(values), 'two or more finite numbers', 'use more seeds')}"
        )
    if not 0 < level < 1:
        raise MetricError(f"level: {mismatch(level, 'a share between 0 and 1', '0.95 is usual')}")
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = student_quantile((1 + level) / 2, len(values) - 1) * error
    return Interval(mean - half, mean + half, level)


def student_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t with so many degrees of freedom, for a probability above one half."""
    low, high = 0.0, 1.0
    while _student_cdf(high, freedom) < probability:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _student_cdf(middle, freedom) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _student_cdf(t: float, freedom: int) -> float:
    """Abramowitz & Stegun (1964), 26.7.3 and 26.7.4: finite sums for whole degrees of freedom."""
    angle = math.atan2(t, math.sqrt(freedom))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    odd = freedom % 2
    term, total = (math.cos(angle), 0.0) if odd else (1.0, 0.0)
    for step in range(freedom // 2):
        total += term
        term *= square * (2 * step + 1 + odd) / (2 * step + 2 + odd)
    both_sides = sine * total
    if odd:
        both_sides = 2 / math.pi * (angle + both_sides)
    return (1 + both_sides) / 2
