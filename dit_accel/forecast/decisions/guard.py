"""Never use a forecast that is not finite or that leaves the range of what was seen.

An extrapolation can run away from a history that looked smooth. The norms of the computed features
of each row give a range; a forecast whose norm lies outside of it by more than a factor, or that
holds a NaN or an Inf, is to be computed instead. A row is judged by itself, without reading
anything to the host.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class NormRange(NamedTuple):
    """Smallest and largest norm of each row so far, ``[R]`` each."""

    low: Tensor
    high: Tensor


def row_norms(feature: Tensor) -> Tensor:
    """Norm of each row, ``[R, ...] -> [R]``, float32 or wider; not finite if an element is not."""
    wide = torch.promote_types(feature.dtype, torch.float32)
    norms: Tensor = torch.linalg.vector_norm(feature.flatten(1), dim=1, dtype=wide)
    return norms


def first_range(norms: Tensor) -> NormRange:
    """The range after the first computed step, from its norms ``[R]``."""
    return NormRange(norms, norms)


def widened(seen: NormRange, norms: Tensor, computed: Tensor) -> NormRange:
    """Take in another computed step.

    Args:
        seen: the range so far.
        norms: ``[R]``, norms in this step.
        computed: bool ``[R]``, the rows that were computed; the others keep their range.
    """
    low, high = torch.minimum(seen.low, norms), torch.maximum(seen.high, norms)
    return NormRange(torch.where(computed, low, seen.low), torch.where(computed, high, seen.high))


def plausible(norms: Tensor, seen: NormRange, factor: float) -> Tensor:
    """Which forecasts may be used.

    Args:
        norms: ``[R]``, `row_norms` of the forecasts.
        seen: the range of each row.
        factor: at least 1, how far beyond the range a norm may lie.

    Returns:
        Bool ``[R]``, false where the forecast is not finite.

    Raises:
        ValueError: ``factor`` is below 1.
    """
    if not factor >= 1.0:
        raise ValueError(f"the factor of the guard must be at least 1, got {factor}")
    return norms.isfinite() & (norms >= seen.low / factor) & (norms <= seen.high * factor)
