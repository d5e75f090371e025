"""Wall-clock times that can be compared: interleaved rounds after a warm-up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Timing:
    """Seconds of every measured round of one candidate."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median, seconds."""
        return float(np.median(self.seconds))

    @property
    def spread(self) -> float:
        """Interquartile range, seconds."""
        lower, upper = np.quantile(self.seconds, [0.25, 0.75])
        return float(upper - lower)

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form, every round included."""
        return {"median_s": self.median, "iqr_s": self.spread, "rounds_s": list(self.seconds)}


def synchronize(device: torch.device) -> None:
    """Wait for the device's queue, so that a clock read next to it means something."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(call: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Seconds of one call, and what it returned."""
    synchronize(device)
    start = time.perf_counter()
    result = call()
    synchronize(device)
    return time.perf_counter() - start, result


def interleaved(
    candidates: Mapping[str, Callable[[], Any]],
    rounds: int,
    device: torch.device,
    progress: Callable[[str], None] = lambda name: None,
) -> dict[str, Timing]:
    """Time every candidate once a round, ``rounds`` times over.

    Interleaving spreads a machine's slow drift (clocks, neighbours) over all candidates; the
    order is reversed every other round, so that none always follows the same neighbour. The
    caller warms up first: what a first call does beyond its work (compile, allocate) is not
    measured here.

    Args:
        candidates: name to call.
        rounds: how often each is timed, at least 1.
        device: where the calls compute; synchronised around each on CUDA.
        progress: told each candidate's name as it finishes.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for index in range(rounds):
        order = list(candidates)[:: 1 if index % 2 == 0 else -1]
        for name in order:
            seconds[name].append(timed(candidates[name], device)[0])
            progress(name)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}
