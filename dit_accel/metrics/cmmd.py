"""CMMD: maximum mean discrepancy of CLIP embeddings with a Gaussian kernel.

Jayasumana et al., "Rethinking FID: Towards a Better Evaluation Metric for Image Generation" (2024).
The published code (google-research/cmmd) computes the biased estimator, with the
diagonal of both kernel matrices, and multiplies it by 1000; so does this.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dit_accel.errors import mismatch
from dit_accel.metrics.arrays import Float64, Floats, MetricError, as_pair

_BLOCK = 2048


def cmmd(a: Any, b: Any, *, sigma: float = 10.0, scale: float = 1000.0) -> float:
    """CMMD of two sets of embeddings, in float64 and in blocks of bounded size.

    Args:
        a: embeddings `[N, D]`; every row is divided by its length, which changes nothing for
            embeddings that are unit vectors already.
        b: embeddings `[M, D]`.
        sigma: width of the kernel exp(−|x − y|² / 2σ²).
        scale: factor of the result.

    Raises:
        MetricError: for a row of zeros, or as `as_features` does.
    """
    if not sigma > 0:
        raise MetricError(f"sigma: {mismatch(sigma, 'more than 0', 'the paper uses 10')}")
    first, second = as_pair(a, b, ("a", "b"))
    x, y = _unit_rows(first, "a"), _unit_rows(second, "b")
    gamma = 1.0 / (2.0 * sigma**2)
    return scale * (_mean(x, x, gamma) + _mean(y, y, gamma) - 2 * _mean(x, y, gamma))


def _unit_rows(features: Floats, name: str) -> Float64:
    rows = features.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not lengths.all():
        row = int(np.argmin(lengths))
        raise MetricError(
            f"{name}: row {row} is zero, expected an embedding with a direction; "
            "look at the image of that row"
        )
    unit: Float64 = rows / lengths
    return unit


def _mean(x: Float64, y: Float64, gamma: float) -> float:
    """Mean of the kernel over all pairs, the diagonal included where `x` is `y`."""
    total = 0.0
    for row in range(0, len(x), _BLOCK):
        for column in range(0, len(y), _BLOCK):
            cosines = x[row : row + _BLOCK] @ y[column : column + _BLOCK].T
            total += float(np.exp(gamma * (2.0 * cosines - 2.0)).sum())
    return total / (len(x) * len(y))
