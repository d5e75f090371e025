"""Fréchet distance extrapolated to infinitely many images (FID∞).

Chong & Forsyth, "Effectively Unbiased FID and Inception Score and where to find them" (2020):
the bias of a finite set is linear in 1/N to first order, so that a straight line through the
distances of subsets of several sizes meets 1/N = 0 at the unbiased distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from dit_accel.errors import mismatch
from dit_accel.metrics.arrays import MetricError, as_features
from dit_accel.metrics.feature_statistics import FeatureStatistics
from dit_accel.metrics.frechet import frechet_distance


@dataclass(frozen=True)
class Extrapolation:
    """A straight line through distances at several set sizes.

    Attributes:
        value: distance at infinite N.
        slope: distance(N) ≈ value + slope / N.
        sizes: of the subsets.
        distances: of the subsets.
    """

    value: float
    slope: float
    sizes: tuple[int, ...]
    distances: tuple[float, ...]


def frechet_extrapolated(
    features: Any, mean: Any, cov: Any, *, num_points: int = 15, seed: int = 2020
) -> Extrapolation:
    """Fréchet distance of a set to a reference, extrapolated to infinitely many images.

    The subsets are nested, each with some more rows of one random order, so that every row is
    read once. The smallest holds N/10 rows as in the paper, but no fewer than 2 D: below, the
    higher orders of D/N bend the line. The bias of a finite *reference* stays.

    Args:
        features: of the images `[N, D]`, N at least 4 D.
        mean: of the reference `[D]`.
        cov: of the reference `[D, D]`.
        num_points: number of subsets, the full set included.
        seed: of the order.

    Raises:
        MetricError: for fewer rows, or as `frechet_distance` and `as_features` do.
    """
    if num_points < 2:
        raise MetricError(f"num_points: {mismatch(num_points, 'at least 2', 'the paper has 15')}")
    rows = as_features(features, "features")
    n, dim = rows.shape
    if n < 4 * dim:
        remedy = "sample more images, or report the distance at this N"
        raise MetricError(f"features: {mismatch(n, f'at least 4 D = {4 * dim} rows', remedy)}")
    order = np.random.default_rng(seed).permutation(n)
    sizes = np.linspace(max(n // 10, 2 * dim), n, num_points).astype(int)
    statistics, distances = FeatureStatistics(dim), []
    for start, stop in pairwise([0, *sizes]):
        statistics.update(rows[order[start:stop]])
        distances.append(frechet_distance(statistics.mean, statistics.cov, mean, cov))
    slope, value = np.polyfit(1.0 / sizes, distances, 1)
    return Extrapolation(
        float(value), float(slope), tuple(int(size) for size in sizes), tuple(distances)
    )
