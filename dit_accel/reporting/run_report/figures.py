"""Scores and seconds as a report prints them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from dit_accel.reporting.run_report.scores import Score

_MOST_DECIMALS = 6


def decimals(scores: Iterable[Score]) -> int:
    """Decimals for a column: to the narrowest interval's second digit, or four digits in all."""
    known = [score for score in scores if math.isfinite(score.value)]
    widths = [score.half_width for score in known if score.half_width]
    if widths:
        return _bounded(1 - math.floor(math.log10(min(widths))))
    largest = max((abs(score.value) for score in known), default=0.0)
    return _bounded(3 - math.floor(math.log10(largest))) if largest else 1


def _bounded(places: int) -> int:
    return min(max(places, 0), _MOST_DECIMALS)


def value(number: float, places: int) -> str:
    """``12.30``; ``∞`` for the PSNR of pictures of which some are identical."""
    # Adding zero turns the -0.0 that rounding leaves of a distance to oneself into 0.0.
    return "∞" if math.isinf(number) else f"{round(number, places) + 0.0:.{places}f}"


def worded(score: Score, number: float) -> str:
    """A value of that score's metric inside a sentence, with its unit if it has one."""
    unit = f" {score.unit}" if score.unit and math.isfinite(number) else ""
    return value(number, decimals([score])) + unit


def interval(score: Score, places: int) -> str:
    """``11.80–12.70``, or ``±0.45`` of a spread; empty where neither was measured."""
    if score.interval is None:
        return "" if score.half_width is None else f"±{score.half_width:.{places}f}"
    low, high = (value(end, places) for end in score.interval)
    return f"{low} to {high}" if "-" in (low[0], high[0]) else f"{low}–{high}"


def seconds(number: float, digits: int = 3) -> str:
    """``0.512 s``, with so many significant digits."""
    return f"{number:.0f} s" if number >= 10**digits else f"{number:#.{digits}g}".rstrip(".") + " s"


def ratio(number: float | None) -> str:
    """``1.96×``; a dash where it is unknown."""
    return "–" if number is None else f"{number:.2f}×"
