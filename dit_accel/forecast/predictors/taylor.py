"""TaylorSeer as published (arXiv 2503.06923, equation 4), with its recursion over the last gap.

    f(t_0 + k) = sum_i D_i k^i / i!,    D_i = (D_{i-1} - D_{i-1} one snapshot earlier) / g_0

This is not Newton's polynomial: ``D_1`` is the slope in the middle of the last gap, not at ``t_0``,
and every order is divided by the newest gap alone. It is exact for straight lines only and misses
``D_2 k N / 2`` of a parabola on even gaps ``N``, so that its second order acts like a damped one:
from t^2 at -6, -3, 0 it forecasts -2 at 2, where 4 is right. Kept as the baseline it is;
`dit_accel.forecast.predictors.polynomial` is exact at the same cost.
"""

import math
from collections.abc import Sequence

import numpy as np

from dit_accel.forecast.predictors.nodes import Weights, checked_timeline, usable_order

MAX_ORDER = 4
"""The authors go up to 4 on DiT (interval 4)."""


def taylor_weights(times: Sequence[float], target: float, order: int) -> Weights:
    """Compute the weights of TaylorSeer's forecast.

    Args:
        times: position of each snapshot, newest first, in the order of the run; the authors use
            the step index.
        target: position to predict at, in the same unit.
        order: highest difference, 0 to 4, limited by the number of snapshots as in the release.

    Returns:
        ``[K]`` float64, newest first, summing to 1.

    Raises:
        ValueError: the times are unordered or not distinct, or ``order`` is out of range.
    """
    nodes = checked_timeline(times)
    used = usable_order(order, MAX_ORDER, nodes.size)
    horizon = target - nodes[0]
    powers = np.array([horizon**degree / math.factorial(degree) for degree in range(used + 1)])
    weights: Weights = powers @ last_gap_differences(nodes, used)
    return weights


def last_gap_differences(nodes: Weights, order: int) -> Weights:
    """Return ``[order + 1, K]``: row ``i`` maps snapshots to TaylorSeer's ``D_i``."""
    table = np.eye(nodes.size)
    rows = [table[0]]
    for degree in range(1, order + 1):
        # Row j of the table is the difference as it was when snapshot j was the newest.
        gaps = (nodes[:-1] - nodes[1:])[: nodes.size - degree]
        table = (table[:-1] - table[1:]) / gaps[:, None]
        rows.append(table[0])
    return np.stack(rows)
