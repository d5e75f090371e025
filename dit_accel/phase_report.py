"""How what takes minutes, a training or a calibration, tells what it is at."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[str, int, int], None]
"""What is under way, how much of it is done, and of how much."""


def silent(phase: str, done: int, total: int) -> None:
    """Tell nobody."""
