"""Which steps are computed, and which of them with guidance: by running the promising choices.

An error early in a run is corrected by later fits as far as these can, so that no sum of single
errors tells what a choice is worth. A fitted run is cheap, though: it costs what the plan costs,
and less where it shares its beginning with the best one so far.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from random import Random
from typing import NamedTuple

import numpy as np

from dit_accel.calibration.schedules import Steps

SLACK = 0.001
"""Of a budget: a step without the unconditional rows costs a little more than half of one."""

LEAST_GUIDED = 0.25
"""Share of the computed steps that are guided, in the splits that a search begins with: below,
errors of guidance outweigh all others."""

SPLITS = 5
"""Of a budget into steps with and without guidance, that a search begins with."""

WARPS = (0.55, 0.7, 0.9)
"""How computed steps are spread: early steps, which are all noise, need them least."""

PATIENCE = 300
"""Changes in a row that can't be or were tried before: then there is hardly a new one left."""


class Places(NamedTuple):
    """Steps that run the transformer, and those of them that run the unconditional rows too."""

    computed: Steps
    guided: Steps


class Split(NamedTuple):
    """How many there are of both."""

    computed: int
    guided: int


Score = Callable[[Places], float]


@dataclass(frozen=True)
class Budget:
    """What a run may cost.

    Attributes:
        num_steps: of the run.
        dense_steps: that it may cost.
        half: cost of a step without the unconditional rows.
        guided: whether there are such rows.
    """

    num_steps: int
    dense_steps: float
    half: float
    guided: bool

    def allows(self, computed: int, guided: int) -> bool:
        """Whether a run of so many steps keeps to it, and leaves anything out."""
        if min(computed, guided if self.guided else computed) == self.num_steps:
            return False
        cost = guided + (computed - guided) * self.half if self.guided else computed
        return cost <= (1 + SLACK) * self.dense_steps

    def splits(self) -> list[Split]:
        """Ways to spend it, from few steps with guidance to many with little of it.

        Empty where not even two steps can be computed.
        """
        found = [
            split
            for count in range(2, self.num_steps + 1)
            if (split := self._split(count)).guided >= LEAST_GUIDED * count
            and self.allows(count, split.guided)
        ]
        if not found:
            return []
        # Those that could compute more rows than they have waste a part of the budget.
        half = [split for split in found if split.guided < split.computed]
        splits = [*[split for split in found if split.guided == split.computed][-1:], *half]
        chosen = [splits[round(at)] for at in np.linspace(0, len(splits) - 1, SPLITS)]
        return list(dict.fromkeys(chosen))

    def _split(self, count: int) -> Split:
        """With as much guidance as `count` computed steps may have."""
        if not self.guided:
            return Split(count, count)
        left = (1 + SLACK) * self.dense_steps - count * self.half
        return Split(count, max(0, min(count, int(left / (1.0 - self.half)))))


def best_places(budget: Budget, score: Score, spent: Callable[[], bool]) -> Places:
    """The choice of least score: the best of some even ones, then changed while that helps.

    Args:
        budget: of the run, with at least one split.
        score: of a choice; the less, the better.
        spent: whether enough choices were scored; asked after the even ones.
    """
    scores: dict[Places, float] = {}

    def known_score(places: Places) -> float:
        if places not in scores:
            scores[places] = score(places)
        return scores[places]

    best = _best_start(budget, known_score)
    changes = _CHANGES if budget.guided else (_moved, _added)
    random, in_vain = Random(0), 0
    while in_vain < PATIENCE and not spent() and isfinite(scores[best]):
        changed = random.choice(changes)(best, budget, random)
        in_vain += 1
        if changed is not None and changed not in scores:
            best, in_vain = min(best, changed, key=known_score), 0
    return best


def _best_start(budget: Budget, score: Score) -> Places:
    """The best way to spread the middle split, then the best split that is spread like it."""
    splits = budget.splits()
    middle = splits[len(splits) // 2]
    best = min(WARPS, key=lambda warp: score(spread(budget, middle, warp)))
    return min((spread(budget, split, best) for split in splits), key=score)


def spread(budget: Budget, split: Split, warp: float) -> Places:
    """Steps spread over a run, from the first one on, and guidance evenly over them."""
    computed = _even(budget.num_steps, split.computed, warp)
    guided = tuple(computed[at] for at in _even(split.computed, split.guided))
    return Places(computed, guided if budget.guided else ())


def _even(num_steps: int, count: int, warp: float = 1.0) -> Steps:
    """`count` steps, from the first one on; a `warp` below 1 leaves out more of the early ones."""
    places = [round(num_steps * (k / count) ** warp) for k in range(count)]
    # Where two fall together the later ones move on, and back from the end.
    for k in range(1, count):
        places[k] = max(places[k], places[k - 1] + 1)
    return tuple(min(place, num_steps - count + k) for k, place in enumerate(places))


def _moved(places: Places, budget: Budget, random: Random) -> Places | None:
    """A computed step is another one near by; `None` if it can't be. The first one always is."""
    step, by = random.choice(places.computed), random.choice((-2, -1, 1, 2))
    if step == 0 or not 0 < step + by < budget.num_steps or step + by in places.computed:
        return None
    return Places(
        _replaced(places.computed, step, step + by), _replaced(places.guided, step, step + by)
    )


def _guided_elsewhere(places: Places, budget: Budget, random: Random) -> Places | None:
    """Another computed step is guided."""
    free = _unguided(places)
    if len(places.guided) < 2 or not free:
        return None
    step = random.choice(places.guided[1:])
    return places._replace(guided=_replaced(places.guided, step, random.choice(free)))


def _more_guided(places: Places, budget: Budget, random: Random) -> Places | None:
    """One computed step less, and guidance in another."""
    free = _unguided(places)
    if len(free) < 2:
        return None
    left_out, guided = random.sample(free, 2)
    computed = tuple(step for step in places.computed if step != left_out)
    return _allowed(Places(computed, tuple(sorted((*places.guided, guided)))), budget)


def _more_computed(places: Places, budget: Budget, random: Random) -> Places | None:
    """Guidance in one step less, and another step computed."""
    free = [step for step in range(1, budget.num_steps) if step not in places.computed]
    if len(places.guided) < 2 or not free:
        return None
    plain, added = random.choice(places.guided[1:]), random.choice(free)
    guided = tuple(step for step in places.guided if step != plain)
    return _allowed(Places(tuple(sorted((*places.computed, added))), guided), budget)


def _added(places: Places, budget: Budget, random: Random) -> Places | None:
    """Another step computed, or guided, where the budget has that much left."""
    step = random.randrange(1, budget.num_steps)
    if step not in places.computed:
        return _allowed(places._replace(computed=tuple(sorted((*places.computed, step)))), budget)
    if not budget.guided or step in places.guided:
        return None
    return _allowed(places._replace(guided=tuple(sorted((*places.guided, step)))), budget)


_CHANGES = (_moved, _moved, _guided_elsewhere, _more_guided, _more_computed, _added)


def _unguided(places: Places) -> list[int]:
    return [step for step in places.computed if step not in places.guided]


def _allowed(places: Places, budget: Budget) -> Places | None:
    return places if budget.allows(len(places.computed), len(places.guided)) else None


def _replaced(steps: Steps, step: int, other: int) -> Steps:
    return tuple(sorted(other if at == step else at for at in steps))
