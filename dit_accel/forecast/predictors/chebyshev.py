"""ChebBooster: barycentric weights ``(1/2, -1, 1, ..., ±1/2)`` at the computed steps.

    w_j = (rho_j / (tau - t_j)) / sum_m rho_m / (tau - t_m)

Its authors found Chebyshev nodes worse for extrapolation and take the computed steps, which makes
this Berrut's rational interpolant with halved ends: exact for straight lines on nodes of any
spacing, and for 3 evenly spaced nodes identical to Newton's quadratic. From 4 nodes on, and where
the newest gap is the longer one, parabolas are missed and noise is amplified less: nodes 0, 1, 4
and target 6 have ``sum |w| = 4``, where the exact quadratic has 9.

Where an older gap is longer, the interpolant has a pole ahead: with 3 nodes and gaps ``g_0 < g_1``
at the horizon ``g_0 (g_0 + g_1) / (g_1 - g_0)``, which for nodes 0, 3, 4 is step 6. Our fact sheet
misses that; the published schedule (dense ends, even in between) never meets it. Here snapshots
beyond a widening gap are left out, which leaves the published weights as they are wherever gaps
narrow into the past, and is provably without poles: the denominator is half the alternating sum of
``g_j / ((tau - t_j) (tau - t_{j+1}))``, which then decrease.
"""

from collections.abc import Sequence

import numpy as np

from dit_accel.forecast.predictors.nodes import Weights, checked_timeline


def chebyshev_weights(times: Sequence[float], target: float) -> Weights:
    """Compute the barycentric weights over the given snapshots.

    Args:
        times: position of each snapshot, newest first, in the order of the run, in any unit.
            The authors keep 2 to 5.
        target: position to predict at, in the same unit.

    Returns:
        ``[K]`` float64, newest first, summing to 1; zero for snapshots before a longer gap.

    Raises:
        ValueError: no times, or times that are not distinct, finite and ordered.
    """
    nodes = checked_timeline(times)
    if target in nodes:
        return np.where(nodes == target, 1.0, 0.0)
    used = _pole_free(nodes)
    signs = (-1.0) ** np.arange(used)
    if used > 1:
        signs[[0, -1]] /= 2.0
    terms = signs / (target - nodes[:used])
    weights = np.zeros(nodes.size)
    weights[:used] = terms / terms.sum()
    return weights


def _pole_free(nodes: Weights) -> int:
    """Count the newest snapshots whose gaps do not widen into the past."""
    gaps = np.abs(nodes[:-1] - nodes[1:])
    widening = gaps[1:] > gaps[:-1] * (1.0 + 1e-9)
    return 2 + int(np.argmax(widening)) if widening.any() else int(nodes.size)
