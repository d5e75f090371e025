"""Adams–Bashforth with variable gaps: the feature as the state of an ODE, integrated forwards.

    f(t_0 + h) = y_0 + h ((1 + r/2) s_0 - (r/2) s_1),    r = h / g_0

The method wants the slopes *at* ``t_0`` and ``t_1``; what snapshots give are the backward
differences ``s_j = (y_j - y_{j+1}) / g_j``, which are slopes at the *midpoints* of the gaps. Hence
it is exact for straight lines only: from t^2 at 0, 3, 6 it forecasts 58 at 8, where 64 is right.
Moving the slopes to where they belong gives Newton's polynomial again.
"""

from collections.abc import Sequence

import numpy as np

from dit_accel.forecast.predictors.nodes import (
    Weights,
    backward_slopes,
    checked_timeline,
    usable_order,
)

MAX_ORDER = 2


def adams_weights(times: Sequence[float], target: float, order: int = 2) -> Weights:
    """Compute the weights of a linear multistep forecast.

    Args:
        times: position of each snapshot, newest first, in the order of the run, in any unit.
        target: position to predict at, in the same unit.
        order: how many slopes are used, 0 (reuse), 1 (Euler: a straight line) or 2, limited by
            the number of snapshots.

    Returns:
        ``[K]`` float64, newest first, summing to 1.

    Raises:
        ValueError: the times are unordered or not distinct, or ``order`` is out of range.
    """
    nodes = checked_timeline(times)
    used = usable_order(order, MAX_ORDER, nodes.size)
    weights: Weights = np.eye(nodes.size)[0]
    if used == 0:
        return weights
    horizon = target - nodes[0]
    half_ratio = horizon / (nodes[0] - nodes[1]) / 2.0 if used == 2 else 0.0
    shares = np.array([1.0 + half_ratio, -half_ratio])[:used]
    weights = weights + horizon * shares @ backward_slopes(nodes)[:used]
    return weights
