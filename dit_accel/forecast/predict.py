"""Forecast a feature from its snapshots at earlier steps, by a weighted sum.

Every linear predictor is a vector of weights over the raw snapshots ``f_0, f_1, ...`` (newest
first, taken at ``t_0, t_1, ...``). The weights are computed on the host in float64 from the true
positions of the computed steps; the sum is one pass over the tensors. Storing snapshots rather than
differences loses no digits to cancellation in half precision.

The predictor is Newton's interpolation polynomial, evaluated beyond its nodes,

    f(tau) = sum_j d^j f[t_0, ..., t_j] prod_{m<j} (tau - t_m),

with divided differences ``f[...]`` and a damping ``d``. TaylorSeer (arXiv 2503.06923, equation 4)
is the same idea with equal gaps assumed and ``k^j`` in place of the product, which makes it exact
for straight lines only; this form is exact to degree ``order`` on uneven nodes.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

MAX_ORDER = 3
"""Higher orders amplify the rounding of the snapshots beyond use."""


def newton_weights(
    times: Sequence[float], target: float, order: int, damping: float = 1.0
) -> npt.NDArray[np.float64]:
    """Compute the weights that extrapolate snapshots at ``times`` to ``target``.

    Args:
        times: position of each snapshot, newest first, in any unit and direction (step index,
            timestep, log-SNR); ``K`` of them, pairwise distinct.
        target: position to predict at, in the same unit.
        order: degree of the polynomial, 0 (reuse the newest) to 3. With ``K`` snapshots at most
            ``K - 1`` is used, so a run degrades to reuse right after its first computed step.
        damping: in ``[0, 1]``, the factor ``d`` above: 1 extrapolates the polynomial exactly,
            0 reuses the newest snapshot, values between shrink order ``j`` by ``d**j``.

    Returns:
        ``[K]`` float64, newest first, summing to 1; zero for older snapshots that are not used.

    Raises:
        ValueError: no times, equal or non-finite times, or ``order`` or ``damping`` out of range.
    """
    if not 0 <= order <= MAX_ORDER:
        raise ValueError(f"the order of a forecast must be from 0 to {MAX_ORDER}, got {order}")
    if not 0.0 <= damping <= 1.0:
        raise ValueError(f"damping must be from 0 to 1, got {damping}")
    nodes = np.asarray(times, dtype=np.float64)
    if nodes.size == 0:
        raise ValueError("a forecast needs at least one snapshot")
    if np.unique(nodes).size != nodes.size or not np.isfinite(nodes).all():
        raise ValueError(
            f"the snapshots of a forecast must be at distinct, finite times, got {list(times)}"
        )
    used = min(order, nodes.size - 1) + 1
    basis = np.cumprod([1.0, *(damping * (target - nodes[: used - 1]))])
    weights = np.zeros(nodes.size)
    weights[:used] = basis @ _divided_differences(nodes[:used])
    return weights


def _divided_differences(nodes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the matrix whose row ``j`` maps snapshots to ``f[t_0, ..., t_j]``."""
    table = np.eye(nodes.size)
    for degree in range(1, nodes.size):
        gaps = nodes[degree:] - nodes[:-degree]
        table[degree:] = (table[degree:] - table[degree - 1 : -1]) / gaps[:, None]
    return table


def weighted_sum(history: Sequence[Tensor] | Tensor, weights: Tensor) -> Tensor:
    """Sum snapshots with the given weights.

    Half-precision snapshots are accumulated in float32, one at a time, so that no widened copy of
    the whole history is made.

    Args:
        history: ``K`` snapshots ``[R, N, C]`` of ``R`` batch rows, stacked or not. All must be
            finite, also those whose weight is zero.
        weights: ``[K]``, or ``[K, R]`` for weights of each row, on the device of ``history``.

    Returns:
        ``[R, N, C]`` in the dtype of ``history``.

    Raises:
        ValueError: the shape of ``weights`` is neither ``[K]`` nor ``[K, R]``.
    """
    newest, *older = history
    if weights.shape not in ((len(history),), (len(history), len(newest))):
        raise ValueError(
            f"expected weights of shape [K] or [K, R] for {len(history)} snapshots of shape "
            f"{tuple(newest.shape)}, got {tuple(weights.shape)}"
        )
    accumulate = torch.promote_types(newest.dtype, torch.float32)
    factors = weights.to(accumulate)[..., None, None]
    total = newest * factors[0]
    for snapshot, factor in zip(older, factors[1:], strict=True):
        total = torch.addcmul(total, snapshot, factor)
    return total.to(newest.dtype)
