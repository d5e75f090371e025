"""What a number is called: never without how many images it is of."""

from __future__ import annotations


def label(title: str, n: int, expected: int, fewest: int = 0) -> str:
    """``FID (N=50,000)``; a partial set, and one too small for the metric, say so.

    Args:
        title: of the metric.
        n: images that were scored.
        expected: images of the complete set.
        fewest: images from which on the metric is meant to be used.
    """
    notes = [f"N={n:,}"]
    if n != expected:
        notes.append(f"partial: {n} of {expected}")
    if n < fewest:
        notes.append(f"too few: below {fewest:,}")
    return f"{title} ({', '.join(notes)})"
