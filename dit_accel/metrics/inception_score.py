"""Inception score: exp of the mean divergence of a picture's class distribution from the mean one.

Salimans et al., "Improved Techniques for Training GANs" (2016), §4: exp(E_x KL(p(y|x) ‖ p(y))).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from dit_accel.errors import mismatch
from dit_accel.metrics.arrays import Float64, MetricError, as_features
from dit_accel.metrics.estimate import Estimate


def inception_score(logits: Any, *, splits: int = 10, seed: int | None = 2020) -> Estimate:
    """Inception score of a set, as the mean over `splits` parts of it, in float64.

    Args:
        logits: classifier outputs before the softmax `[N, K]`.
        splits: number of parts of nearly equal size.
        seed: of the order in which rows are dealt out (that of torch-fidelity), or None for the
            order given: the ADM evaluator cuts 50,000 images into ten parts so.

    Returns:
        Mean and standard deviation over the parts.

    Raises:
        MetricError: for fewer rows than parts, or as `as_features` does.
    """
    if splits < 1:
        raise MetricError(f"splits: {mismatch(splits, 'at least 1', 'the usual number is 10')}")
    rows = as_features(logits, "logits", least=splits)
    if seed is not None:
        rows = rows[np.random.RandomState(seed).permutation(len(rows))]
    n = len(rows)
    edges = [part * n // splits for part in range(splits + 1)]
    scores = [_score(rows[start:stop]) for start, stop in pairwise(edges)]
    return Estimate(float(np.mean(scores)), float(np.std(scores)))


def _score(logits: Any) -> float:
    log_p = _log_softmax(logits.astype(np.float64))
    p = np.exp(log_p)
    divergence = (p * (log_p - np.log(p.mean(axis=0)))).sum(axis=1)
    return float(np.exp(divergence.mean()))


def _log_softmax(logits: Float64) -> Float64:
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: Float64 = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
