"""Kernel distance (KID): squared maximum mean discrepancy with a polynomial kernel.

Bińkowski et al., "Demystifying MMD GANs" (2018), "Kernel Inception Distance": the unbiased
estimator with k(x, y) = (γ xᵀy + c)^d, averaged over subsets. Subsets are drawn in the order of
torch-fidelity, so that the number is the same as there; and since they are drawn from all the
features in the order of the images, it does not depend on how many ranks made them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dit_accel.errors import mismatch
from dit_accel.metrics.arrays import Float64, MetricError, as_pair
from dit_accel.metrics.estimate import Estimate


def kernel_distance(
    a: Any,
    b: Any,
    *,
    num_subsets: int = 100,
    subset_size: int = 1000,
    degree: int = 3,
    gamma: float | None = None,
    coef0: float = 1.0,
    seed: int = 2020,
) -> Estimate:
    """Kernel distance of two sets of features, in float64.

    Args:
        a: features `[N, D]`.
        b: features `[M, D]`.
        num_subsets: number of pairs of subsets.
        subset_size: rows of a subset, drawn without replacement.
        degree: of the polynomial.
        gamma: factor of the inner product, 1/D if None.
        coef0: constant of the polynomial.
        seed: of the subsets.

    Returns:
        Mean and standard deviation over the subsets. The mean may be negative: the estimator is
        unbiased. The deviation is of one subset's value, not of the mean.

    Raises:
        MetricError: if a set holds fewer than `subset_size` rows, or as `as_features` does.
    """
    if subset_size < 2 or num_subsets < 1:
        found = {"num_subsets": num_subsets, "subset_size": subset_size}
        remedy = "the unbiased estimator needs pairs"
        raise MetricError(f"kernel_distance: {mismatch(found, 'at least 1 and 2', remedy)}")
    first, second = as_pair(a, b, ("a", "b"))
    smaller = min(len(first), len(second))
    if smaller < subset_size:
        expected, remedy = f"at least subset_size = {subset_size} rows", f"pass {smaller} or less"
        raise MetricError(f"subset_size: {mismatch(smaller, expected, remedy)}")
    # The legacy generator on purpose: torch-fidelity's subsets are drawn with it.
    draw = np.random.RandomState(seed)
    scale = 1.0 / first.shape[1] if gamma is None else gamma
    values = []
    for _ in range(num_subsets):
        x = first[draw.choice(len(first), subset_size, replace=False)].astype(np.float64)
        y = second[draw.choice(len(second), subset_size, replace=False)].astype(np.float64)
        values.append(_unbiased_mmd(x, y, degree, scale, coef0))
    return Estimate(float(np.mean(values)), float(np.std(values)))


def _unbiased_mmd(x: Float64, y: Float64, degree: int, gamma: float, coef0: float) -> float:
    def kernel(u: Float64, v: Float64) -> Float64:
        values: Float64 = (u @ v.T * gamma + coef0) ** degree
        return values

    within = sum(k.sum() - np.trace(k) for k in (kernel(x, x), kernel(y, y)))
    n = len(x)
    return float(within / (n * (n - 1)) - 2 * kernel(x, y).mean())
