"""No decision reads a tensor to the host: on the meta device there is nothing to read."""

import torch
from torch import Tensor

from dit_accel.forecast.decisions import (
    accumulated_change,
    curvature_drift,
    easy,
    expected_error,
    guard,
    input_change,
    magnitude,
    token_clusters,
    token_importance,
    verify,
)
from dit_accel.forecast.predictors import (
    curvature_groups,
    mix_bands,
    token_motion,
    weights_of_tokens,
)
from dit_accel.tokens.grid import Grid


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor without values."""
    return torch.empty(shape, device="meta", dtype=dtype)


def test_figures_of_samples() -> None:
    change = input_change.PowerLaw(2.0, 0.5)(input_change.polynomial_change(meta(3), [1.0, 2.0]))
    change = change + easy.expected_change(easy.change_rate(meta(3), meta(3)), meta(3), meta(3))
    assert accumulated_change.accumulate(meta(3), change, 0.1).need.shape == (3,)
    assert easy.mean_magnitude(meta(3, 4, 2)).shape == (3,)
    assert verify.accepted(meta(3), meta(3), 0.1).shape == (3,)
    assert magnitude.magnitude_ratio(meta(3, 4, 2), meta(3, 4, 2)).shape == (3,)


def test_guard() -> None:
    norms = guard.row_norms(meta(3, 4, 2))
    seen = guard.widened(guard.first_range(norms), norms, meta(3, dtype=torch.bool))
    assert guard.plausible(norms, seen, 2.0).shape == (3,)


def test_curvature() -> None:
    history, times = meta(3, 4, 10, 6), meta(3, 4)
    motion = token_motion(history, times)
    groups = curvature_groups(motion.kappa, 0.3, 0.6, 2)
    assert weights_of_tokens(meta(3, 3, 4), groups).shape == (3, 4, 10)
    assert curvature_drift.planned_skips(motion, groups, 4, 0.2, 2).shape == (2,)
    smoothness = expected_error.token_smoothness(history, times)
    error = expected_error.expected_error(smoothness, 2.0, 1.0, 2)
    assert expected_error.updated_gain(meta(2), error, error).shape == (2,)


def test_tokens() -> None:
    scores = token_importance.value_norms(meta(4, 12, 6))
    scores = token_importance.with_local_bonus(scores, Grid(3, 4))
    scores = token_importance.scores_of_samples(scores, 2)
    selected = token_importance.select_tokens(scores, 5)
    assert token_importance.renewed_age(meta(2, 12), selected).shape == (2, 12)
    clusters = token_clusters.cluster_tokens(meta(2, 12, 6), 3)
    chosen = token_clusters.representatives(clusters, scores, 3)
    spread = token_clusters.spread_fresh(meta(2, 12, 6), meta(2, 3, 6), chosen, clusters)
    assert spread.shape == (2, 12, 6)
    assert mix_bands(meta(2, 12, 6), meta(2, 12, 6), Grid(3, 4), 0.3).shape == (2, 12, 6)
