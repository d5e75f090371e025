"""FoCa (arXiv 2508.16211): forecast step by step with BDF2, corrected by the slope of the anchors.

With ``F_k, F_{k-1}`` the last two values (computed or forecast) and ``S`` the slope between the
last two computed ones, one step of length ``h`` is

    F_{k+1} = F_k + h (S + s_k) / 2,    s_k = (F_k - F_{k-1}) / (their distance).

Every step halves the distance of ``s_k`` to ``S``, so that ``k`` steps roll out to

    F_k = y_0 + k h S + h (1 - 2^-k) (s_0 - S),

a weight vector like any other. ``s_0`` is taken over the last step before the anchor, whose value
is itself a forecast from the older snapshots where that step was not computed.

cache-dit's port leaves out the division by the distances, and with gaps above 1 is not even exact
for straight lines: y = t computed at 0, 1 and 4 gives 6 at 5. Here slopes are slopes, and straight
lines are exact. Only the snapshots at hand can be rolled out: the forecast is that of a run that
began with the oldest of them, and before two are known the slope is that of the last gap.
"""

import math
from collections.abc import Sequence

import numpy as np

from dit_accel.forecast.predictors.nodes import Weights, backward_slopes, checked_timeline


def foca_weights(times: Sequence[float], target: float, step: float = 1.0) -> Weights:
    """Compute the weights of FoCa's forecast, rolled out over all of the given snapshots.

    Args:
        times: position of each snapshot, newest first, in the order of the run. With 2 snapshots
            the forecast is a straight line; the correction begins with 3.
        target: position to predict at, in the same unit.
        step: distance of two consecutive steps in that unit, positive: 1 for step indices.

    Returns:
        ``[K]`` float64, newest first, summing to 1.

    Raises:
        ValueError: the times are unordered or not distinct, or ``step`` is not positive.
    """
    if not 0.0 < step < math.inf:
        raise ValueError(f"step must be positive and finite, got {step}")
    nodes = checked_timeline(times)
    if nodes.size == 1:
        return np.ones(1)
    return _roll_out(nodes, target, math.copysign(step, nodes[0] - nodes[1]))


def _roll_out(nodes: Weights, target: float, step: float) -> Weights:
    """Forecast ``target`` from the newest of two nodes or more; ``step`` is signed."""
    horizon = target - nodes[0]
    anchor_slope = backward_slopes(nodes)[0]
    excess = _slope_at_anchor(nodes, step) - anchor_slope
    settled = 1.0 - 0.5 ** (horizon / step)
    weights: Weights = np.eye(nodes.size)[0] + horizon * anchor_slope + step * settled * excess
    return weights


def _slope_at_anchor(nodes: Weights, step: float) -> Weights:
    """Weights of the slope over the step that ends at the newest node."""
    one_step = np.isclose(nodes[0] - step, nodes[1], rtol=0.0, atol=1e-9 * abs(step))
    if nodes.size == 2 or one_step:
        slope: Weights = backward_slopes(nodes)[0]
        return slope
    before = np.concatenate([[0.0], _roll_out(nodes[1:], nodes[0] - step, step)])
    slope = (np.eye(nodes.size)[0] - before) / step
    return slope
