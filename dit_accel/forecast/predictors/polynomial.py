"""Newton's interpolation polynomial, evaluated beyond its nodes.

    f(tau) = sum_j d^j f[t_0, ..., t_j] prod_{m<j} (tau - t_m),

with divided differences ``f[...]`` and a damping ``d``. Undamped it is exact to degree ``order`` on
nodes of any spacing, which TaylorSeer (`dit_accel.forecast.predictors.taylor`) is not.

The noise of the snapshots is amplified by ``sum |w|`` at most. A short gap before a long horizon
makes that large: nodes 0, 1, 4 and target 6 give 9.0 at order 2. ``max_gain`` bounds it: degrees
are added one by one, each only as far as the bound allows.
"""

import math
from collections.abc import Sequence

import numpy as np

from dit_accel.forecast.predictors.nodes import Weights, checked_nodes, usable_order

MAX_ORDER = 3
"""Higher orders amplify the rounding of the snapshots beyond use."""


def newton_weights(
    times: Sequence[float],
    target: float,
    order: int,
    damping: float = 1.0,
    max_gain: float = math.inf,
) -> Weights:
    """Compute the weights that extrapolate snapshots at ``times`` to ``target``.

    Args:
        times: position of each snapshot, newest first, in any unit and direction (step index,
            timestep, log-SNR); ``K`` of them, pairwise distinct.
        target: position to predict at, in the same unit.
        order: degree of the polynomial, 0 (reuse the newest) to 3. With ``K`` snapshots at most
            ``K - 1`` is used, so a run degrades to reuse right after its first computed step.
        damping: in ``[0, 1]``, the factor ``d`` above: 1 extrapolates the polynomial exactly,
            0 reuses the newest snapshot, values between shrink order ``j`` by ``d**j``.
        max_gain: upper bound, at least 1, of the sum of the absolute weights.

    Returns:
        ``[K]`` float64, newest first, summing to 1; zero for older snapshots that are not used.

    Raises:
        ValueError: no times, equal or non-finite times, or ``order``, ``damping`` or ``max_gain``
            out of range.
    """
    nodes = checked_nodes(times)
    used = usable_order(order, MAX_ORDER, nodes.size) + 1
    if not 0.0 <= damping <= 1.0:
        raise ValueError(f"damping must be from 0 to 1, got {damping}")
    if not max_gain >= 1.0:
        raise ValueError(f"max_gain must be at least 1, got {max_gain}")
    basis = np.cumprod([1.0, *(damping * (target - nodes[: used - 1]))])
    degrees = basis[:, None] * _divided_differences(nodes[:used])
    weights = np.zeros(nodes.size)
    weights[:used] = _sum_within(degrees, max_gain)
    return weights


def damped_horizon(horizon: float, retention: float) -> float:
    """Shorten a horizon so that a linear forecast flattens out (the damped trend).

    The slope is kept by the share ``q`` from one step to the next: ``1 + q + q^2 + ...``, which is
    ``(1 - q^k) / (1 - q)`` for ``k`` steps and ``1 / (1 - q)`` in the limit. To be used as
    ``newton_weights(times, times[0] + damped_horizon(target - times[0], q), order)``.

    Args:
        horizon: ``k``, in steps, of either sign.
        retention: ``q``, from 0 (one step of the slope, then flat) to 1 (not shortened).

    Returns:
        The shortened horizon, of the same sign.

    Raises:
        ValueError: ``retention`` is out of range.
    """
    if not 0.0 <= retention <= 1.0:
        raise ValueError(f"retention must be from 0 to 1, got {retention}")
    if retention == 1.0:
        return horizon
    return math.copysign((1.0 - retention ** abs(horizon)) / (1.0 - retention), horizon)


def _divided_differences(nodes: Weights) -> Weights:
    """Return the matrix whose row ``j`` maps snapshots to ``f[t_0, ..., t_j]``."""
    table = np.eye(nodes.size)
    for degree in range(1, nodes.size):
        gaps = nodes[degree:] - nodes[:-degree]
        table[degree:] = (table[degree:] - table[degree - 1 : -1]) / gaps[:, None]
    return table


def _sum_within(degrees: Weights, max_gain: float) -> Weights:
    """Add up the rows, each by the share that keeps ``sum |w| <= max_gain``."""
    total: Weights = degrees[0]
    for degree in degrees[1:]:
        before, after = np.abs(total).sum(), np.abs(total + degree).sum()
        # The gain is convex in the share, so the chord never promises too much.
        within = after <= max_gain
        share = 1.0 if within else max(0.0, (max_gain - before) / (after - before))
        total = total + share * degree
    return total
