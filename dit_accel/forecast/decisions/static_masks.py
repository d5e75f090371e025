"""Sets of computed steps that are known before a run begins.

A mask is a tuple of one bool for each step in the order of execution, true where the step is
computed. The releases of FORA, ToCa, TaylorSeer, SpeCa and ClusCa count steps down (``T - 1``
first, 0 last) and some of their rules depend on it; here ``countdown`` is that number.
"""

from collections.abc import Sequence

Mask = tuple[bool, ...]


def fora_mask(num_steps: int, interval: int) -> Mask:
    """FORA (arXiv 2407.01425): the first step, and where the countdown divides by ``interval``.

    50 steps at interval 3 are ``FF..F..F…``, 18 computed.
    """
    _check(num_steps, interval)
    return tuple(
        countdown == num_steps - 1 or countdown % interval == 0
        for countdown in reversed(range(num_steps))
    )


def interval_mask(num_steps: int, interval: int, first: int = 1) -> Mask:
    """TaylorSeer (arXiv 2503.06923): ``first`` steps, then every ``interval``-th after them.

    The release for DiT has ``first = 2``, hence 18, 14, 11 of 50 at intervals 3, 4, 5. It never
    protects the last steps: a run may end on ``interval - 1`` forecasts.

    Raises:
        ValueError: a number is below 1.
    """
    _check(num_steps, interval)
    if first < 1:
        raise ValueError(f"the first step has nothing to forecast from: first >= 1, got {first}")
    return tuple(step < first or (step - first + 1) % interval == 0 for step in range(num_steps))


def bins_mask(computed: Sequence[int], forecast: Sequence[int]) -> Mask:
    """cache-dit's `steps_mask`: runs of computed and of forecast steps in turn.

    Args:
        computed: lengths of the computed runs, the first of which opens the mask.
        forecast: lengths of the runs between them, as many or one less.

    Raises:
        ValueError: the lengths do not interleave, or one is below 1.
    """
    if len(computed) - len(forecast) not in (0, 1) or min([*computed, *forecast], default=0) < 1:
        raise ValueError(
            "expected runs of at least one step that alternate, computed first, "
            f"got {list(computed)} and {list(forecast)}"
        )
    mask: list[bool] = []
    for index, length in enumerate(computed):
        mask += [True] * length
        mask += [False] * (forecast[index] if index < len(forecast) else 0)
    return tuple(mask)


def toca_period(countdown: int, num_steps: int, interval: int) -> int:
    """ToCa (arXiv 2410.05317): how often all tokens are computed, from a full step on.

    ``round(N / (1.4 - 0.8 s / T))``, but 2 for ``0.2 T <= s < 0.4 T``, where the authors found
    caching to hurt most.
    """
    if 0.2 * num_steps <= countdown < 0.4 * num_steps:
        return 2
    return round(interval / (1.4 - 0.8 * countdown / num_steps))


def toca_mask(num_steps: int, interval: int) -> Mask:
    """The steps at which ToCa computes all tokens; at the others it computes a few.

    As released: the first step, and where the countdown divides by the period set at the last full
    step.
    """
    _check(num_steps, interval)
    mask, period = [], interval
    for countdown in reversed(range(num_steps)):
        full = countdown == num_steps - 1 or countdown % period == 0
        if full:
            period = toca_period(countdown, num_steps, interval)
        mask.append(full)
    return tuple(mask)


def resampled_steps(computed: Sequence[int], made_for: int, num_steps: int) -> tuple[int, ...]:
    """The steps of a run of another length that lie nearest to the computed ones.

    Step ``i`` of ``S`` goes to ``round(i (T - 1) / (S - 1))`` of ``T``, a half to the even one, so
    that as much of the run lies between two computed steps as before. With fewer steps several may
    fall into one: then more of the run is computed than was listed.

    Args:
        computed: indices of the computed steps, ascending, below ``S``.
        made_for: ``S``, at least 1.
        num_steps: ``T``, at least 1.
    """
    scale = (num_steps - 1) / max(1, made_for - 1)
    return tuple(sorted({round(step * scale) for step in computed}))


def _check(num_steps: int, interval: int) -> None:
    if num_steps < 1 or interval < 1:
        raise ValueError(
            f"expected at least one step and an interval of at least 1, got {num_steps} steps "
            f"and interval {interval}"
        )
