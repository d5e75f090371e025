"""Where the cells of a coarser grid lie, and sin-cos embeddings of any points of a grid.

FlexDiT / SparseDiT (arXiv 2412.06028) gives sparse tokens the position embedding again that the
average took from them. A cell's position is the centre of its window in units of the fine grid:
rows ``[s, e)`` lie at ``(s + e - 1) / 2``. The embedding is that of DiT: half of the channels for
the column, half for the row, of each first the sines and then the cosines, with the frequencies
``10000^(-i / (C / 4))``.
"""

import torch
from torch import Tensor

from dit_accel.tokens.grid import Grid, check_pooled


def window_centres(grid: Grid, pooled: Grid) -> tuple[Tensor, Tensor]:
    """Rows and columns of the centres of the adaptive windows of ``pooled``.

    Args:
        grid: the fine grid, whose tokens lie at ``0 .. H - 1`` and ``0 .. W - 1``.
        pooled: the coarse grid, no larger than ``grid`` on either side.

    Returns:
        float64 ``[H']`` and ``[W']``. The windows of the partition have the same centres wherever
        the sides divide, and differ by less than a token elsewhere.

    Raises:
        ValueError: ``pooled`` is larger than ``grid``, or empty.
    """
    check_pooled(grid, pooled)
    return _centres(grid.height, pooled.height), _centres(grid.width, pooled.width)


def sincos(rows: Tensor, columns: Tensor, channels: int) -> Tensor:
    """Embed the points of the grid ``rows x columns``.

    Args:
        rows: ``[H']``, coordinates in whatever unit the model's own embedding has.
        columns: ``[W']``.
        channels: ``C``, a multiple of 4.

    Returns:
        float64 ``[H' W', C]`` in raster order.

    Raises:
        ValueError: ``channels`` is not a multiple of 4.
    """
    if channels % 4:
        raise ValueError(f"a sin-cos embedding of a plane has 4k channels, got {channels}")
    height, width = len(rows), len(columns)
    across = _waves(columns, channels // 4)[None].expand(height, width, -1)
    down = _waves(rows, channels // 4)[:, None].expand(height, width, -1)
    return torch.cat([across, down], dim=-1).flatten(0, 1)


def _centres(length: int, parts: int) -> Tensor:
    index = torch.arange(parts, dtype=torch.float64)
    start, stop = (index * length / parts).floor(), ((index + 1) * length / parts).ceil()
    return (start + stop - 1) / 2


def _waves(points: Tensor, count: int) -> Tensor:
    frequencies = 10000.0 ** (-torch.arange(count, dtype=torch.float64) / count)
    angles = points.double()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
