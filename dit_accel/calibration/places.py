"""Which steps are computed, and which of them with guidance: by running the promising choices.

An error early in a run is corrected by later fits as far as these can, so that no sum of single
errors tells what a choice is worth. A fitted run is cheap, though: it costs what the plan costs.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import NamedTuple

import numpy as np

from dit_accel.calibration.schedules import Steps
from dit_accel.errors import DitAccelError

SLACK = 0.01
"""Of a budget: the first step of a run may cost a little more than others."""

LEAST_GUIDED = 0.25
"""Share of the computed steps that are guided: below, errors of guidance outweigh all others."""

SPLITS = 4
"""Of a budget into steps with and without guidance; each is spread over the run in all ways."""

WARPS = (0.9, 0.7, 0.55)
"""How computed steps are spread: early steps, which are all noise, need them least."""


class Places(NamedTuple):
    """Steps that run the transformer, and those of them that run the unconditional rows too."""

    computed: Steps
    guided: Steps


Score = Callable[[Places], float]


def best_places(starts: list[Places], num_steps: int, score: Score, most: int) -> Places:
    """The choice of least score: the best start, then single steps moved while that helps.

    Args:
        starts: choices to begin with.
        num_steps: of the run.
        score: of a choice; the less, the better.
        most: how many choices may be scored.
    """
    scores = {places: score(places) for places in starts[:most]}
    best = min(scores, key=lambda places: scores[places])
    moves, in_vain = _moves(best), 0
    for kind, index, by in cycle(moves):
        if len(scores) >= most or in_vain == len(moves):
            break
        moved, in_vain = _moved(best, kind, index, by, num_steps), in_vain + 1
        if moved is None or moved in scores:
            continue
        scores[moved] = score(moved)
        if scores[moved] < scores[best]:
            best, in_vain = moved, 0
    return best


def starting_places(num_steps: int, budget: float, half: float, guided: bool) -> list[Places]:
    """Some splits of a budget, each spread over the run in a few ways.

    Args:
        num_steps: of the run.
        budget: in steps that compute everything.
        half: cost of a step without the unconditional rows.
        guided: whether there are such rows.

    Raises:
        DitAccelError: not even two steps can be computed.
    """
    found = [
        (count, rows)
        for count in range(2, num_steps + 1)
        if (rows := _rows(count, (1 + SLACK) * budget, half, guided)) >= LEAST_GUIDED * count
    ]
    if not found:
        expected = f"less: with {num_steps} steps no plan is that cheap"
        remedy = "ask for less, or use more steps of the solver"
        raise DitAccelError(f"speedup: expected {expected}; {remedy}")
    # Those that could compute more rows than they have waste a part of the budget.
    spent = [pair for pair in found if pair[1] < pair[0]] if guided else []
    splits = [*[pair for pair in found if pair not in spent][-1:], *spent]
    chosen = [splits[round(at)] for at in np.linspace(0, len(splits) - 1, SPLITS)]
    spread = [
        _spread(num_steps, count, rows, warp, guided) for count, rows in chosen for warp in WARPS
    ]
    return list(dict.fromkeys(spread))


def _rows(count: int, budget: float, half: float, guided: bool) -> int:
    """How many of `count` computed steps may be guided; 0 if that is too much already."""
    if not guided:
        return count if count <= budget else 0
    return max(0, min(count, int((budget - count * half) / (1.0 - half))))


def _spread(num_steps: int, count: int, rows: int, warp: float, guided: bool) -> Places:
    computed = _even(num_steps, count, warp)
    return Places(computed, tuple(computed[at] for at in _even(count, rows)) if guided else ())


def _even(num_steps: int, count: int, warp: float = 1.0) -> Steps:
    """`count` steps, from the first one on; a `warp` below 1 leaves out more of the early ones."""
    places = [round(num_steps * (k / count) ** warp) for k in range(count)]
    # Where two fall together the later ones move on, and back from the end.
    for k in range(1, count):
        places[k] = max(places[k], places[k - 1] + 1)
    return tuple(min(place, num_steps - count + k) for k, place in enumerate(places))


def _moves(places: Places) -> list[tuple[str, int, int]]:
    """Which step to move, and where to; the first one is always computed."""
    numbers = {"guided": len(places.guided), "computed": len(places.computed)}
    steps = [(kind, index) for kind, count in numbers.items() for index in range(1, count)]
    # Those of both kinds in turn, so that neither uses up all that may be scored.
    spread = sorted(steps, key=lambda step: step[1] / numbers[step[0]])
    return [(kind, index, by) for by in (1, -1) for kind, index in spread]


def _moved(places: Places, kind: str, index: int, by: int, num_steps: int) -> Places | None:
    """One step moved to the next place that it may have; `None` if that is taken."""
    computed, guided = places
    if kind == "guided":
        step, at = guided[index], computed.index(guided[index]) + by
        free = 0 < at < len(computed) and computed[at] not in guided
        return Places(computed, _replaced(guided, step, computed[at])) if free else None
    step, other = computed[index], computed[index] + by
    if not 0 < other < num_steps or other in computed:
        return None
    return Places(_replaced(computed, step, other), _replaced(guided, step, other))


def _replaced(steps: Steps, step: int, other: int) -> Steps:
    return tuple(sorted(other if at == step else at for at in steps))
