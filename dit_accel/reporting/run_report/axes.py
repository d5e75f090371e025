"""The two axes of a plot: a logarithmic one of time and a linear one of a score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_LEADING_DIGITS = (
    (1,),
    (1, 3),
    (1, 2, 5),
    (1, 1.5, 2, 3, 5, 7),
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8),
)
_FEWEST_TICKS = 4


@dataclass(frozen=True)
class Axis:
    """A range of values on a range of pixels; ``end`` may lie before ``start``."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Pixel of a value."""
        low, high, at = (
            math.log(v) if self.logarithmic else v for v in (self.low, self.high, value)
        )
        return self.start + (self.end - self.start) * (at - low) / (high - low)

    def ticks(self) -> list[tuple[float, str]]:
        """Pixel and plain text of round values inside the range."""
        if self.logarithmic:
            return [(self(value), f"{value:g}") for value in _log_values(self.low, self.high)]
        step = _round_step((self.high - self.low) / 5)
        places = max(0, -math.floor(math.log10(step) + 1e-9))
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [(self(k * step), f"{k * step:.{places}f}") for k in range(first, last + 1)]


def _round_step(at_least: float) -> float:
    """The smallest of 1, 2, 5 × 10^k that is no less."""
    size = 10.0 ** math.floor(math.log10(at_least))
    return next(m * size for m in (1, 2, 5, 10) if m * size >= at_least)


def _log_values(low: float, high: float) -> list[float]:
    """1, 2, 5, … as finely as it takes to have a few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values: list[float] = []
    for digits in _LEADING_DIGITS:
        values = [d * 10.0**k for k in decades for d in digits if low <= d * 10.0**k <= high]
        if len(values) >= _FEWEST_TICKS:
            break
    return values


def padded(values: Sequence[float], share: float = 0.08) -> tuple[float, float]:
    """A range that holds all values with some room; never of zero width."""
    low, high = min(values), max(values)
    room = share * (high - low) or share * abs(high) or 1.0
    return low - room, high + room


def padded_log(values: Sequence[float], share: float = 0.1) -> tuple[float, float]:
    """The same in the logarithm; at least a factor of 1.5, so that noise does not fill it."""
    low, high = padded([math.log(value) for value in values], share)
    short = max(0.0, math.log(1.5) - (high - low)) / 2
    return math.exp(low - short), math.exp(high + short)
