"""MagCache (arXiv 2506.09045): skip while the norm of the residual is known to change little.

``rho_i = mean_tokens |R_i| / |R_{i-1}|`` is measured once for a model, a solver and a number of
steps. From the last computed step on,

    ratio <- ratio * rho_i,    error <- error + |1 - ratio|,

and the step is skipped while the error is within the threshold and not more than ``max_skips`` were
skipped in a row. Nothing of this depends on the data, so the whole schedule is a static mask. The
ratio knows the norm only, not the direction.

For another number of steps the release takes the nearest ratio of those it has. That is lossy: the
norm changes more from one of 20 steps to the next than from one of 50.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dit_accel.forecast.decisions.static_masks import Mask


def magnitude_ratio(residual: Tensor, previous: Tensor) -> Tensor:
    """Measure ``rho_i``: mean over the tokens of the ratio of their norms.

    Args:
        residual: ``[R, N, C]`` of this step.
        previous: ``[R, N, C]`` of the step before.

    Returns:
        ``[R]`` float32; tokens whose previous residual is zero are counted as unchanged.
    """
    now, before = (torch.linalg.vector_norm(x.float(), dim=-1) for x in (residual, previous))
    return torch.where(before > 0, now / before, 1.0).mean(dim=1)


def resampled_ratios(ratios: Sequence[float], num_steps: int) -> tuple[float, ...]:
    """Stretch or thin out the ratios to a run of another length, as the release does.

    ``nearest_interp`` of MagCache: step ``i`` of ``T`` gets the ratio at
    ``round(i (S - 1) / (T - 1))`` of ``S``, a half to the even one; a single step gets the last.

    Args:
        ratios: ``rho_i`` of each of ``S`` steps.
        num_steps: ``T``, at least 1.
    """
    if num_steps == 1:
        return (ratios[-1],)
    scale = (len(ratios) - 1) / (num_steps - 1)
    return tuple(ratios[round(step * scale)] for step in range(num_steps))


def magnitude_mask(
    ratios: Sequence[float], threshold: float, max_skips: int, retention: float
) -> Mask:
    """Resolve the rule into the set of computed steps.

    Args:
        ratios: ``rho_i`` of each step; that of the first is not read. diffusers ships those of FLUX
            (`diffusers.hooks.mag_cache.FLUX_MAG_RATIOS`).
        threshold: largest accumulated error that is skipped: 0.06 in diffusers, 0.24 officially.
        max_skips: largest number of skipped steps in a row.
        retention: share of the steps at the start that is always computed (rounded half up, as in
            diffusers).

    Returns:
        One bool a step; the first step is computed.
    """
    start = max(1, int(retention * len(ratios) + 0.5))
    mask, ratio, error, skipped = [True] * min(start, len(ratios)), 1.0, 0.0, 0
    for rho in ratios[start:]:
        ratio *= rho
        error += abs(1.0 - ratio)
        # Written so that a NaN computes.
        skip = error <= threshold and skipped < max_skips
        mask.append(not skip)
        ratio, error, skipped = (ratio, error, skipped + 1) if skip else (1.0, 0.0, 0)
    return tuple(mask)
