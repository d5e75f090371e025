"""Candidate plans for a speed-up: where the remembered blocks begin, and which steps compute what.

A step is of one of three kinds: everything; conditional rows alone, the guidance difference being
forecast; and conditional rows through the first blocks alone, the rest being forecast too. Of all
splits of the budget those with the least expected error are returned.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import numpy.typing as npt

from dit_accel.calibration.recording import WINDOW, Recording
from dit_accel.calibration.schedules import (
    Choice,
    Costs,
    ErrorOf,
    Steps,
    best_steps,
    schedule_error,
)

LONGEST_GAP = WINDOW - 2
"""Of blocks: forecasts look back over at most `WINDOW` steps."""


def candidates(
    recording: Recording,
    sensitivity: npt.NDArray[np.float64],
    costs: Mapping[int, Costs],
    budgets: Mapping[int, float],
    guidance_scale: float,
    snapshots: int,
    count: int,
) -> list[Choice]:
    """The most promising choices.

    Args:
        recording: of dense trajectories.
        sensitivity: what is left of a step's error in the final latents, `[T]`.
        costs: of the kinds of steps, for each first block in question.
        budgets: for each of these, what a run may cost in dense steps.
        guidance_scale: of the run; without guidance above 1 there are no unconditional rows.
        snapshots: computed steps that a forecast goes by.
        count: how many are wanted.

    Returns:
        Best first; empty where no choice is as cheap as that.
    """
    guidance = _guidance_error(recording, sensitivity, guidance_scale)
    found = []
    for first, cost in costs.items():
        blocks = _blocks_error(recording, sensitivity, first)
        for number in range(2, recording.num_steps):
            split = _rows_computed(
                recording.num_steps, number, cost, budgets[first], guidance_scale > 1
            )
            if split < 1:
                break
            found += _choices(recording, first, number, split, blocks, guidance, snapshots)
    return sorted(set(found), key=lambda choice: choice.error)[:count]


def _choices(
    recording: Recording,
    first: int,
    number: int,
    split: int,
    blocks: ErrorOf,
    guidance: ErrorOf,
    snapshots: int,
) -> list[Choice]:
    steps = recording.num_steps
    try:
        computed = best_steps(blocks, steps, number, snapshots, LONGEST_GAP)
        rows = best_steps(guidance, steps, min(split, number), snapshots, steps, computed)
    except ValueError:  # too few for the longest gap
        return []
    error = schedule_error(blocks, computed, steps, snapshots)
    error += schedule_error(guidance, rows, steps, snapshots)
    return [Choice(first, computed, rows, float(np.sqrt(error)))]


def _rows_computed(num_steps: int, blocks: int, cost: Costs, budget: float, guided: bool) -> int:
    """How many of the computed steps may compute the unconditional rows too."""
    if not guided:
        return blocks if blocks + (num_steps - blocks) * cost.cheap <= budget else 0
    left = budget - cost.of(num_steps, blocks, 0)
    return min(blocks, int(left / (1 - cost.half) + 1e-9))


def _blocks_error(
    recording: Recording, sensitivity: npt.NDArray[np.float64], first: int
) -> ErrorOf:
    @cache
    def error(step: int, after: Steps) -> float:
        if step - after[0] > WINDOW:
            return float("inf")
        return float(sensitivity[step]) * recording.fit_blocks(first, step, after).error

    return error


def _guidance_error(
    recording: Recording, sensitivity: npt.NDArray[np.float64], scale: float
) -> ErrorOf:
    @cache
    def error(step: int, after: Steps) -> float:
        if scale <= 1:
            return 0.0
        # u + w (c - u) with u = c - d is c + (w - 1) d.
        return (scale - 1) * float(sensitivity[step]) * recording.fit_guidance(step, after).error

    return error
