"""What a number is called: never without how many images it is of."""

from __future__ import annotations


def label(title: str, n: int, expected: int, fewest: int = 0, *, asked: int | None = None) -> str:
    """``FID (N=50,000)``; a partial set, one too small for the metric, and one of which only some
    pictures were asked for it, say so.

    Args:
        title: of the metric.
        n: images that were scored.
        expected: images of the complete set.
        fewest: images from which on the metric is meant to be used.
        asked: images whose prompts ask for what is scored; None where no prompts are.
    """
    notes = [f"N={n:,}"]
    if n != expected:
        notes.append(f"partial: {n} of {expected}")
    if n < fewest:
        notes.append(f"too few: below {fewest:,}")
    if asked is not None and asked < n:
        notes.append(f"asked of {asked:,}")
    return f"{title} ({', '.join(notes)})"
