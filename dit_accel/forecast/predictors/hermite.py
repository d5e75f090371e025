"""HiCache (arXiv 2508.16984): TaylorSeer's differences on scaled Hermite polynomials.

    f(t_0 + k) = sum_i D_i / i! * sigma^i H_i(sigma k),    H_{n+1} = 2 x H_n - 2 n H_{n-1}

Order 1 is a straight line with ``2 sigma^2`` of its slope: half of it at the recommended 0.5, all
of it (exact) at ``sqrt(1/2)``. Order 2 leaves ``-sigma^2 D_2`` even at ``k = 0``. It is a shrinkage
of TaylorSeer, and the shrinkage depends on the unit of time, which must be the step index.

HiCache++ ran for long with the sign of ``k`` flipped, which near-reuse hides: the direction is
therefore tested by itself.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.polynomial.hermite import hermvander

from dit_accel.forecast.predictors.nodes import Weights, checked_timeline, usable_order
from dit_accel.forecast.predictors.taylor import MAX_ORDER, last_gap_differences


def hermite_weights(
    times: Sequence[float], target: float, order: int, sigma: float = 0.5
) -> Weights:
    """Compute the weights of HiCache's forecast.

    Args:
        times: step index of each snapshot, newest first, in the order of the run.
        target: step index to predict at.
        order: highest difference, 0 to 4 (the authors use 1 or 2), limited by the snapshots.
        sigma: scale of the Hermite basis, positive.

    Returns:
        ``[K]`` float64, newest first, summing to 1.

    Raises:
        ValueError: the times are unordered or not distinct, or ``order`` or ``sigma`` is out of
            range.
    """
    if not 0.0 < sigma < math.inf:
        raise ValueError(f"sigma must be positive and finite, got {sigma}")
    nodes = checked_timeline(times)
    used = usable_order(order, MAX_ORDER, nodes.size)
    scale = np.array([sigma**degree / math.factorial(degree) for degree in range(used + 1)])
    basis = scale * hermvander(sigma * (target - nodes[:1]), used)[0]
    weights: Weights = basis @ last_gap_differences(nodes, used)
    return weights
