"""FreqCa (arXiv 2510.08669): low spatial frequencies reused, high ones forecast.

The token map is split by a discrete cosine transform (DCT-II, orthonormal) on its grid: a frequency
``(u, v)`` is low where ``u`` and ``v`` both lie in the lowest ``cutoff`` share of their axis. The
split is a projection ``LP`` and ``HP = 1 - LP``, and predictors are linear, so that

    LP(y_0) + HP(sum_j w_j y_j) = z + LP(y_0 - z),    z = sum_j w_j y_j

takes the transform of one tensor instead of one for each snapshot, and of its low frequencies only:
four thin matrix products, no FFT. FasterCache's guidance difference (arXiv 2410.19355), each band
scaled by a factor of its own, is `mix_bands` of the scaled differences.
"""

import math

import torch
from torch import Tensor

from dit_accel.tokens.grid import Grid, check_tokens


def mix_bands(low: Tensor, high: Tensor, grid: Grid, cutoff: float) -> Tensor:
    """Take the low frequencies of one token map and the high ones of another.

    Args:
        low: ``[R, N, C]`` in raster order, ``N = grid.size``; FreqCa gives the newest snapshot.
        high: ``[R, N, C]``; FreqCa gives the forecast.
        grid: the grid of the tokens.
        cutoff: share of the frequencies of each axis that is low, in ``[0, 1]``: 0 returns
            ``high``, 1 returns ``low``, up to rounding.

    Returns:
        ``[R, N, C]`` in the dtype of ``high``; half-precision tokens are mixed in float32.

    Raises:
        ValueError: ``N != grid.size``, the shapes differ, or ``cutoff`` is out of range.
    """
    if low.shape != high.shape:
        raise ValueError(
            f"bands are mixed of two maps of one shape, got {tuple(low.shape)} "
            f"and {tuple(high.shape)}"
        )
    wide = torch.promote_types(high.dtype, torch.float32)
    base = high.to(wide)
    return (base + low_pass(low.to(wide) - base, grid, cutoff)).to(high.dtype)


def low_pass(tokens: Tensor, grid: Grid, cutoff: float) -> Tensor:
    """Project a token map on its low frequencies.

    Args:
        tokens: ``[R, N, C]`` in raster order, float32 or wider, ``N = grid.size``.
        grid: the grid of the tokens.
        cutoff: share of the frequencies of each axis that is kept, in ``[0, 1]``.

    Returns:
        ``[R, N, C]``.

    Raises:
        ValueError: ``N != grid.size``, or ``cutoff`` is out of range.
    """
    check_tokens(tokens, grid)
    rows = low_cosines(grid.height, cutoff, tokens.device, tokens.dtype)
    columns = low_cosines(grid.width, cutoff, tokens.device, tokens.dtype)
    num_rows, _, channels = tokens.shape
    image = rows @ tokens.reshape(num_rows, grid.height, grid.width * channels)
    spectrum = columns @ image.reshape(num_rows, len(rows), grid.width, channels)
    smooth = rows.mT @ (columns.mT @ spectrum).flatten(2)
    return smooth.reshape(tokens.shape)


def low_cosines(
    length: int, cutoff: float, device: torch.device, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return the lowest rows of the orthonormal DCT-II matrix, ``[m, length]``.

    ``m`` is ``cutoff * length``, rounded, and at least 1 unless ``cutoff`` is 0. Made by a few
    operations on the device, without a copy from the host.

    Raises:
        ValueError: ``cutoff`` is not in ``[0, 1]``.
    """
    if not 0.0 <= cutoff <= 1.0:
        raise ValueError(f"cutoff must be from 0 to 1, got {cutoff}")
    kept = max(round(cutoff * length), 1 if cutoff > 0 else 0)
    frequency = torch.arange(kept, device=device, dtype=dtype)[:, None]
    position = torch.arange(length, device=device, dtype=dtype) + 0.5
    cosines = torch.cos(frequency * position * (math.pi / length))
    return torch.where(frequency == 0, cosines * length**-0.5, cosines * (2.0 / length) ** 0.5)
