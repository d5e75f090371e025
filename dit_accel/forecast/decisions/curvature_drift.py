"""WorldCache's chaotic-prioritised skipping (arXiv 2603.06331): when to compute again.

After each forecast step the error signal of a sample is

    E_k = mean over its chaotic tokens of kappa_i |y'_k,i - y'_{k-1},i|,

with the forecasts ``y'`` of `dit_accel.forecast.predictors.curvature`. The sample is computed once
the sum of ``E_k`` reaches ``eta``, or after ``n_max`` forecasts. ``E_k`` needs nothing that is not
known at the computed step: the forecast moves by ``p v_0 + q v_1`` there, hence the number of
steps to skip is known in advance, and a run reads one small tensor at each computed step and
nothing in between.

As in the paper, the mean is over the chaotic tokens (the release divides by the number of all
tokens, which makes its ``eta`` smaller by the chaotic share); here of each sample alone, its
guidance rows together.
"""

import torch
from torch import Tensor

from dit_accel.forecast.predictors.curvature import CHAOTIC, TokenMotion, blend
from dit_accel.forecast.rows import tokens_of_samples


def chaotic_change(
    motion: TokenMotion, groups: Tensor, horizon: int, max_skips: int, rows_per_sample: int
) -> Tensor:
    """``E_k``, the error signal of each sample.

    Args:
        motion: of the last three computed steps, ``[R, N]`` each.
        groups: long ``[R, N]`` from `curvature_groups`.
        horizon: ``k >= 1``, steps since the computed one.
        max_skips: ``n_max``.
        rows_per_sample: sample ``b`` of ``B`` owns the rows ``b, b + B, ...``.

    Returns:
        ``[B]``; 0 for a sample without chaotic tokens.
    """
    now, before = blend(horizon, max_skips), blend(horizon - 1, max_skips)
    newest = horizon * (1.0 - now) - (horizon - 1) * (1.0 - before)
    oldest = horizon * now - (horizon - 1) * before
    squared = newest**2 * motion.newest + oldest**2 * motion.oldest
    squared = squared + 2.0 * newest * oldest * motion.cross
    chaotic = groups == CHAOTIC
    signal = torch.where(chaotic, motion.kappa * squared.clamp(min=0.0).sqrt(), 0.0)
    total = tokens_of_samples(signal, rows_per_sample).sum(dim=1)
    return total / tokens_of_samples(chaotic, rows_per_sample).sum(dim=1).clamp(min=1)


def planned_skips(
    motion: TokenMotion, groups: Tensor, max_skips: int, threshold: float, rows_per_sample: int
) -> Tensor:
    """How many steps each sample may be forecast before it is computed again.

    Args:
        motion: of the last three computed steps, ``[R, N]`` each.
        groups: long ``[R, N]`` from `curvature_groups`.
        max_skips: ``n_max``, at least 1.
        threshold: ``eta``; the authors use 0.2 and 1.0. At least one step is forecast, as in the
            release, where the signal of a step is added after it.
        rows_per_sample: sample ``b`` of ``B`` owns the rows ``b, b + B, ...``.

    Returns:
        Long ``[B]``, from 1 to ``max_skips``.
    """
    total = torch.zeros((), device=motion.kappa.device)
    skips = torch.ones((), dtype=torch.long, device=motion.kappa.device)
    for horizon in range(1, max_skips):
        change = chaotic_change(motion, groups, horizon, max_skips, rows_per_sample)
        total = total + change
        skips = skips + (total < threshold)
    return skips.expand(motion.kappa.shape[0] // rows_per_sample)
