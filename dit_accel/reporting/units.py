"""Numbers as people read them."""

from __future__ import annotations


def macs(value: float) -> str:
    """``4.75 T`` for 4.75e12 multiply-accumulates; four significant digits."""
    for size, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value:.4g}"


def memory(value: float | None) -> str:
    """``1.5 MiB``; a dash where nothing was measured."""
    if value is None:
        return "–"
    for size, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f} B"


def decibels(value: float | None) -> str:
    """``31.2``; ``exact`` for identical pictures, whose PSNR is infinite."""
    return "exact" if value is None or value == float("inf") else f"{value:.2f}"
