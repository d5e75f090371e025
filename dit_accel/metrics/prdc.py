"""Precision, recall, density and coverage: how far two sets of features lie inside each other.

Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models" (2019),
eq. 1 and 2, and Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models"
(2020). Around every row lies a ball that reaches to its k-th nearest neighbour in the
same set; what counts is whose rows lie in whose balls. A row on the rim is inside for the first
paper's code (≤) and outside for the second's (<); both are kept.

Distances are computed block by block, never as a whole matrix, and by |x|² + |y|² − 2xᵀy, which is
a matrix product. In float32 that loses a near-duplicate: at |x|² = 2000 anything closer than 0.02
drowns. In float64 it costs twice the time and leaves 3e-7 |x|, the spacing of the float32 numbers
that features are; below that two rows count as the same, and their distance as exactly 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dit_accel.errors import mismatch
from dit_accel.metrics.arrays import Floats, MetricError, as_pair

# Two blocks of 2048 × 2048, their distances and what is derived from them take 0.3 GB in all, and
# their products are large enough to run at the full speed of the processor.
_BLOCK = 2048
_SAME = 1e-13  # of |x|² + |y|²


class PRDC(NamedTuple):
    """All in [0, 1] but density, whose expectation is 1 for equal distributions."""

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(real: Any, fake: Any, *, nearest_k: int | tuple[int, int] = 5) -> PRDC:
    """Precision, recall, density and coverage, exactly, over all pairs of rows.

    Args:
        real: features `[N, D]` of the reference.
        fake: features `[M, D]` of the generated set.
        nearest_k: which neighbour a ball reaches to, the row itself not counted; a pair gives one
            for precision and recall (3 in Kynkäänniemi et al., ADM and torch-fidelity) and one for
            density and coverage (5 in Naeem et al.), from the same pass over the pairs of rows.

    Raises:
        MetricError: if a set has not more than `nearest_k` rows, or as `as_features` does.
    """
    ks = (nearest_k, nearest_k) if isinstance(nearest_k, int) else tuple(nearest_k)
    if len(ks) != 2 or min(ks) < 1:
        remedy = "the usual numbers are 3 and 5"
        raise MetricError(f"nearest_k: {mismatch(ks, 'one or two numbers from 1', remedy)}")
    real, fake = as_pair(real, fake, ("real", "fake"), least=max(ks) + 1)
    # Distances do not change by a shift, and shorter vectors leave smaller rounding.
    origin = torch.from_numpy(real.mean(axis=0, dtype=np.float64))
    real_rows, fake_rows = _Rows(real, origin), _Rows(fake, origin)
    real_near, fake_near = _nearest(real_rows, max(ks)), _nearest(fake_rows, ks[0])
    return _compare(real_rows, fake_rows, real_near, fake_near[:, -1], ks)


class _Block(NamedTuple):
    """Some consecutive rows, centred, in float64, and the squares of their lengths."""

    rows: slice
    vectors: Tensor
    squares: Tensor


class _Rows:
    """A set of features that is converted to float64 a block at a time."""

    def __init__(self, features: Floats, origin: Tensor) -> None:
        self.features = torch.from_numpy(features)
        self.origin = origin

    def __len__(self) -> int:
        return len(self.features)

    def blocks(self, start: int = 0) -> Iterator[_Block]:
        for first in range(start, len(self), _BLOCK):
            rows = slice(first, first + _BLOCK)
            vectors = self.features[rows].double() - self.origin
            yield _Block(rows, vectors, vectors.square().sum(dim=1))


def _squared_distances(x: _Block, y: _Block) -> Tensor:
    scale = x.squares[:, None] + y.squares
    distances = torch.addmm(scale, x.vectors, y.vectors.T, alpha=-2)
    return distances.masked_fill_(distances <= scale.mul_(_SAME), 0.0)


def _nearest(rows: _Rows, k: int) -> Tensor:
    """Squared distances `[N, k]` of each row to its neighbours, nearest first.

    Distances are symmetric: half of the pairs of blocks give all of them.
    """
    nearest = torch.full((len(rows), k), torch.inf, dtype=torch.float64)
    for x in rows.blocks():
        for y in rows.blocks(x.rows.start):
            distances = _squared_distances(x, y)
            if y.rows == x.rows:
                distances.fill_diagonal_(torch.inf)
            else:
                _keep_smallest(nearest[y.rows], distances.T.contiguous())
            _keep_smallest(nearest[x.rows], distances)
    return nearest.sort(dim=1).values


def _keep_smallest(nearest: Tensor, distances: Tensor) -> None:
    k = nearest.shape[1]
    found = distances.topk(min(k, distances.shape[1]), largest=False, sorted=False).values
    nearest.copy_(torch.cat([nearest, found], dim=1).topk(k, largest=False, sorted=False).values)


def _compare(
    real: _Rows, fake: _Rows, real_near: Tensor, fake_reach: Tensor, ks: tuple[int, int]
) -> PRDC:
    """Every pair of blocks once: who lies in whose balls."""
    wide, dense = (real_near[:, k - 1, None] for k in ks)
    precise = torch.zeros(len(fake), dtype=torch.bool)
    recalled, covered = torch.zeros(2, len(real), dtype=torch.bool)
    inside_count = 0
    for x in real.blocks():
        for y in fake.blocks():
            distances = _squared_distances(x, y)
            precise[y.rows] |= (distances <= wide[x.rows]).any(dim=0)
            recalled[x.rows] |= (distances <= fake_reach[y.rows]).any(dim=1)
            inside = distances < dense[x.rows]
            covered[x.rows] |= inside.any(dim=1)
            inside_count += int(inside.sum())
    return PRDC(
        precision=precise.double().mean().item(),
        recall=recalled.double().mean().item(),
        density=inside_count / (ks[1] * len(fake)),
        coverage=covered.double().mean().item(),
    )
