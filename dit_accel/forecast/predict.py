"""Forecast a feature from its snapshots at earlier steps, by a weighted sum.

Every linear predictor is a vector of weights over the raw snapshots ``f_0, f_1, ...`` (newest
first, taken at ``t_0, t_1, ...``). The weights are computed on the host in float64 from the true
positions of the computed steps (`dit_accel.forecast.predictors`); the sum is one pass over the
tensors. Storing snapshots rather than differences loses no digits to cancellation in half
precision.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dit_accel.forecast.predictors.polynomial import newton_weights

__all__ = ["newton_weights", "weighted_sum"]


def weighted_sum(history: Sequence[Tensor] | Tensor, weights: Tensor) -> Tensor:
    """Sum snapshots with the given weights.

    Half-precision snapshots are accumulated in float32, one at a time, so that no widened copy of
    the whole history is made.

    Args:
        history: ``K`` snapshots ``[R, N, C]`` of ``R`` batch rows, stacked or not. All must be
            finite, also those whose weight is zero.
        weights: ``[K]``, ``[K, R]`` for weights of each row, or ``[K, R, N]`` for those of each
            token, on the device of ``history``.

    Returns:
        ``[R, N, C]`` in the dtype of ``history``.

    Raises:
        ValueError: the shape of ``weights`` is none of these.
    """
    newest, *older = history
    full = (len(history), *newest.shape[:2])
    if weights.ndim == 0 or weights.shape != full[: weights.ndim]:
        raise ValueError(
            f"expected weights of shape [K], [K, R] or [K, R, N] for {len(history)} snapshots of "
            f"shape {tuple(newest.shape)}, got {tuple(weights.shape)}"
        )
    accumulate = torch.promote_types(newest.dtype, torch.float32)
    factors = weights.to(accumulate).reshape(*weights.shape, *[1] * (4 - weights.ndim))
    total = newest * factors[0]
    for snapshot, factor in zip(older, factors[1:], strict=True):
        total = torch.addcmul(total, snapshot, factor)
    return total.to(newest.dtype)
