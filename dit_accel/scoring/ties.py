"""When two scores differ, when they are tied, and which may be compared at all."""

from __future__ import annotations

import math

from dit_accel.scoring.records import ScoreRecord

_DEVIATIONS = 1.96


def half_width(record: ScoreRecord) -> float | None:
    """Half the interval of a score; from its spread (of KID's subsets, say) where it has none."""
    if record.interval is not None:
        return (record.interval[1] - record.interval[0]) / 2
    return None if record.std is None else _DEVIATIONS * record.std


def resolution(a: ScoreRecord, b: ScoreRecord) -> float | None:
    """Differences up to this are ties: both half widths, added as independent errors are.

    Runs of the same seeds share most of their noise, so this errs on the side of calling a tie;
    ``fd_ref_delta`` is the sharper test of two such runs. ``None`` if neither has an interval.
    """
    widths = [width for width in (half_width(a), half_width(b)) if width is not None]
    return math.hypot(*widths) if widths else None


def is_tie(a: ScoreRecord, b: ScoreRecord) -> bool:
    """Whether two scores of one metric differ by no more than their intervals can tell apart."""
    if a.value is None or b.value is None:
        return a.value == b.value
    return abs(a.value - b.value) <= (resolution(a, b) or 0.0)


def is_rival(record: ScoreRecord) -> bool:
    """Whether a score may be the best of others, or be beaten by them.

    One that was forced, or is of a part of its set, is no measurement of the same thing. Nor is
    the baseline beside itself: its pictures are exact by definition.
    """
    return record.complete and not record.forced and not record.is_exact
