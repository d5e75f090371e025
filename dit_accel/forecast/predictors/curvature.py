"""WorldCache (arXiv 2603.06331): every token forecast by the group that its curvature puts it in.

From the outputs ``y_0, y_1, y_2`` of the last three computed steps ``t_0, t_1, t_2`` (newest
first), per token:

    v_0 = (y_0 - y_1) / (t_0 - t_1)     v_1 = (y_1 - y_2) / (t_1 - t_2)
    a = (v_0 - v_1) / (t_0 - t_1)       kappa = |a| / (|v_0|^2 + eps)

Tokens below the quantile ``p_s`` of kappa are *stable*, from ``p_c`` on *chaotic*, else *linear*:

    stable: y_0     linear: y_0 + k v_0     chaotic: y_0 + k ((1 - alpha_k) v_0 + alpha_k v_1)
    alpha_k = 3 x^2 - 2 x^3,  x = min(k / n_max, 1)

Faithful to the paper, its weaknesses included: kappa is small for *fast* straight tokens, which are
then reused; it is about ``1 / noise`` for tokens at rest; the blend extrapolates against the
measured acceleration rather than damping it; ``a`` is divided by the newest gap alone, which on
uneven gaps is not the second derivative. Unlike the release, kappa is computed in float32 at least
and the quantiles are taken within each sample, over the tokens of its guidance rows together:
batch-mates have no say. The three forecasts are weights over raw snapshots, to be summed by
`dit_accel.forecast.predict.weighted_sum` in one pass.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dit_accel.forecast.predictors.nodes import Weights, backward_slopes, checked_timeline
from dit_accel.forecast.rows import tokens_of_samples

NUM_SNAPSHOTS = 3
STABLE, LINEAR, CHAOTIC = range(3)
EPS = 1e-8


class TokenMotion(NamedTuple):
    """What WorldCache needs to know of each token between two computed steps.

    Attributes:
        kappa: ``[R, N]``, curvature.
        newest: ``[R, N]``, ``|v_0|^2``.
        cross: ``[R, N]``, ``<v_0, v_1>``.
        oldest: ``[R, N]``, ``|v_1|^2``.
    """

    kappa: Tensor
    newest: Tensor
    cross: Tensor
    oldest: Tensor


def token_motion(history: Sequence[Tensor] | Tensor, times: Tensor) -> TokenMotion:
    """Measure velocity, acceleration and curvature of each token.

    Args:
        history: three snapshots ``[R, N, C]``, newest first.
        times: their positions, ``[3]`` or ``[3, R]`` where rows were computed at different steps.

    Returns:
        Figures ``[R, N]``, in float32 or wider.

    Raises:
        ValueError: there are not exactly three snapshots.
    """
    if len(history) != NUM_SNAPSHOTS:
        raise ValueError(f"curvature needs 3 snapshots, newest first, got {len(history)}")
    wide = torch.promote_types(history[0].dtype, torch.float32)
    newest, middle, oldest = (snapshot.to(wide) for snapshot in history)
    gaps = (times[:-1] - times[1:]).to(wide)[..., None, None]
    velocity, previous = (newest - middle) / gaps[0], (middle - oldest) / gaps[1]
    acceleration = (velocity - previous) / gaps[0]
    speed = velocity.square().sum(-1)
    return TokenMotion(
        kappa=torch.linalg.vector_norm(acceleration, dim=-1) / (speed + EPS),
        newest=speed,
        cross=(velocity * previous).sum(-1),
        oldest=previous.square().sum(-1),
    )


def curvature_groups(
    kappa: Tensor, stable_quantile: float, chaotic_quantile: float, rows_per_sample: int
) -> Tensor:
    """Sort the tokens of each sample into `STABLE`, `LINEAR` and `CHAOTIC`.

    Args:
        kappa: ``[R, N]``; sample ``b`` of ``B`` owns the rows ``b, b + B, ...``.
        stable_quantile: ``p_s``, below which tokens are reused.
        chaotic_quantile: ``p_c >= p_s``, from which on they are chaotic.
        rows_per_sample: rows of one sample, 2 under batched guidance.

    Returns:
        Long ``[R, N]``.

    Raises:
        ValueError: the quantiles are out of order or range, or the rows cannot be shared out.
    """
    if not 0.0 <= stable_quantile <= chaotic_quantile <= 1.0:
        raise ValueError(
            "the quantiles of stable and chaotic tokens must satisfy 0 <= p_s <= p_c <= 1, "
            f"got {stable_quantile} and {chaotic_quantile}"
        )
    samples = tokens_of_samples(kappa, rows_per_sample)
    bounds = [
        torch.quantile(samples, share, dim=1).repeat(rows_per_sample)[:, None]
        for share in (stable_quantile, chaotic_quantile)
    ]
    return (kappa >= bounds[0]).long() + (kappa >= bounds[1]).long()


def blend(horizon: float, max_skips: float) -> float:
    """``alpha_k``: the share of the older velocity ``k`` steps after a computed one.

    Args:
        horizon: ``k >= 0``, in steps.
        max_skips: ``n_max``, the number of forecast steps at which the share reaches 1.
    """
    x = min(horizon / max_skips, 1.0)
    return 3.0 * x**2 - 2.0 * x**3


def curvature_weights(times: Sequence[float], target: float, max_skips: float) -> Weights:
    """Compute the weights of the three forecasts.

    Args:
        times: step index of each snapshot, newest first, in the order of the run. With fewer than
            three there is no curvature, and every group is reused.
        target: step index to predict at.
        max_skips: ``n_max``, the largest number of forecast steps in a row, positive.

    Returns:
        ``[3, K]`` float64, one row a group in the order stable, linear, chaotic; each sums to 1.

    Raises:
        ValueError: the times are unordered or not distinct, or ``max_skips`` is not positive.
    """
    if not max_skips > 0:
        raise ValueError(f"max_skips must be positive, got {max_skips}")
    nodes = checked_timeline(times)
    reuse = np.eye(nodes.size)[0]
    if nodes.size < NUM_SNAPSHOTS:
        return np.tile(reuse, (3, 1))
    horizon = target - nodes[0]
    slopes = backward_slopes(nodes)[:2]
    share = blend(abs(horizon), max_skips)
    mixed = (1.0 - share) * slopes[0] + share * slopes[1]
    return np.stack([reuse, reuse + horizon * slopes[0], reuse + horizon * mixed])


def weights_of_tokens(table: Tensor, groups: Tensor) -> Tensor:
    """Give each token the weights of its group.

    Args:
        table: ``[3, K]`` from `curvature_weights`, or ``[3, K, R]`` with those of each row.
        groups: long ``[R, N]`` from `curvature_groups`.

    Returns:
        ``[K, R, N]``, as `dit_accel.forecast.predict.weighted_sum` takes them.
    """
    if table.ndim == 2:
        return table[groups].permute(2, 0, 1)
    rows = torch.arange(groups.shape[0], device=groups.device)[:, None]
    return table.permute(0, 2, 1)[groups, rows].permute(2, 0, 1)
