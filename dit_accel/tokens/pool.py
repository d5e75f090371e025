"""Fewer tokens by averaging over the cells of a coarser grid, and back.

``P`` (`pool`) takes the mean of each cell and ``U`` (`unpool`) repeats the value of a cell over
its tokens (nearest neighbour), both by the partition of `dit_accel.tokens.grid`. Hence
``P U = I`` and ``U P`` is a projection, on every grid.

A run of transformer blocks ``F`` is evaluated on fewer tokens as ``X + U(F(P X) - P X)``: the
detail ``X - U P X`` is carried past it unchanged. Average pooling of the residual stream and
nearest-neighbour recovery are those of FlexDiT / SparseDiT (arXiv 2412.06028).
"""

import torch
from torch import Tensor
from torch.nn import functional

from dit_accel.tokens.grid import Grid, cell_index, cell_sizes, check_pooled, check_tokens


def pool(hidden_states: Tensor, grid: Grid, pooled: Grid) -> Tensor:
    """Average tokens over the cells of a coarser grid.

    Args:
        hidden_states: ``[B, N, C]`` in raster order, ``N = grid.size``. Half-precision tokens
            are averaged in float32.
        grid: the grid of the tokens.
        pooled: the grid of the result, no larger than ``grid`` on either side.

    Returns:
        ``[B, M, C]``, ``M = pooled.size``, in the dtype of the input; the input itself when
        ``pooled == grid``.

    Raises:
        ValueError: ``N != grid.size``, or ``pooled`` is larger than ``grid``.
    """
    check_tokens(hidden_states, grid)
    check_pooled(grid, pooled)
    if pooled == grid:
        return hidden_states
    if _divides(pooled, grid):
        return _average_blocks(hidden_states, grid, pooled)
    return _average_cells(hidden_states, grid, pooled)


def unpool(hidden_states: Tensor, grid: Grid, pooled: Grid) -> Tensor:
    """Give every token of the finer grid the value of its cell (nearest neighbour).

    Args:
        hidden_states: ``[B, M, C]`` in raster order, ``M = pooled.size``.
        grid: the grid of the result.
        pooled: the grid of the tokens, no larger than ``grid`` on either side.

    Returns:
        ``[B, N, C]``, ``N = grid.size``; the input itself when ``pooled == grid``.

    Raises:
        ValueError: ``M != pooled.size``, or ``pooled`` is larger than ``grid``.
    """
    check_tokens(hidden_states, pooled)
    check_pooled(grid, pooled)
    if pooled == grid:
        return hidden_states
    if not _divides(pooled, grid):
        return hidden_states.index_select(1, cell_index(grid, pooled, hidden_states.device))
    batch, _, channels = hidden_states.shape
    down, across = grid.height // pooled.height, grid.width // pooled.width
    cells = hidden_states.reshape(batch, pooled.height, 1, pooled.width, 1, channels)
    return cells.expand(-1, -1, down, -1, across, -1).flatten(1, 4)


def _divides(pooled: Grid, grid: Grid) -> bool:
    return grid.height % pooled.height == 0 and grid.width % pooled.width == 0


def _average_blocks(hidden_states: Tensor, grid: Grid, pooled: Grid) -> Tensor:
    # [B, H, W, C] permuted is a channels-last image as it stands: nothing is copied. The kernel
    # accumulates in float32, and is many times faster than a mean over two split axes.
    batch, _, channels = hidden_states.shape
    image = hidden_states.reshape(batch, *grid, channels).permute(0, 3, 1, 2)
    window = (grid.height // pooled.height, grid.width // pooled.width)
    return functional.avg_pool2d(image, window).permute(0, 2, 3, 1).flatten(1, 2)


def _average_cells(hidden_states: Tensor, grid: Grid, pooled: Grid) -> Tensor:
    batch, _, channels = hidden_states.shape
    device = hidden_states.device
    accumulate = torch.promote_types(hidden_states.dtype, torch.float32)
    sums = torch.zeros(batch, pooled.size, channels, dtype=accumulate, device=device)
    index = cell_index(grid, pooled, device)
    sums = sums.index_add(1, index, hidden_states.to(accumulate))
    return (sums / cell_sizes(grid, pooled, device)[:, None]).to(hidden_states.dtype)
