"""The forms in which a metric hands back its number."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, and the standard deviation over the subsets or splits that it is the mean of."""

    value: float
    std: float


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval; `level` 0.95 means that it is meant to cover in 95 % of the cases."""

    low: float
    high: float
    level: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high
