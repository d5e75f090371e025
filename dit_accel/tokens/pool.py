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

from dit_accel.tokens.cells import Cells, cells_between
from dit_accel.tokens.grid import Grid, check_pooled, check_tokens


def pool(hidden_states: Tensor, grid: Grid, pooled: Grid, cells: Cells | None = None) -> Tensor:
    """Average tokens over the cells of a coarser grid.

    Args:
        hidden_states: ``[B, N, C]`` in raster order, ``N = grid.size``. Half-precision tokens
            are averaged in float32.
        grid: the grid of the tokens.
        pooled: the grid of the result, no larger than ``grid`` on either side.
        cells: the maps between the two, made here where they are not at hand.

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
    if cells is None:
        cells = cells_between(grid, pooled, hidden_states.device)
    if cells.index is None or cells.sizes is None:
        return _average_blocks(hidden_states, grid, pooled)
    return _average_cells(hidden_states, cells.index, cells.sizes)


def unpool(hidden_states: Tensor, grid: Grid, pooled: Grid, cells: Cells | None = None) -> Tensor:
    """Give every token of the finer grid the value of its cell (nearest neighbour).

    Args:
        hidden_states: ``[B, M, C]`` in raster order, ``M = pooled.size``.
        grid: the grid of the result.
        pooled: the grid of the tokens, no larger than ``grid`` on either side.
        cells: the maps between the two, made here where they are not at hand.

    Returns:
        ``[B, N, C]``, ``N = grid.size``; the input itself when ``pooled == grid``.

    Raises:
        ValueError: ``M != pooled.size``, or ``pooled`` is larger than ``grid``.
    """
    check_tokens(hidden_states, pooled)
    check_pooled(grid, pooled)
    if pooled == grid:
        return hidden_states
    if cells is None:
        cells = cells_between(grid, pooled, hidden_states.device)
    if cells.index is not None:
        return hidden_states.index_select(1, cells.index)
    batch, _, channels = hidden_states.shape
    down, across = grid.height // pooled.height, grid.width // pooled.width
    split = hidden_states.reshape(batch, pooled.height, 1, pooled.width, 1, channels)
    return split.expand(-1, -1, down, -1, across, -1).flatten(1, 4)


def _average_blocks(hidden_states: Tensor, grid: Grid, pooled: Grid) -> Tensor:
    # [B, H, W, C] permuted is a channels-last image as it stands: nothing is copied. The kernel
    # accumulates in float32, and is many times faster than a mean over two split axes.
    batch, _, channels = hidden_states.shape
    image = hidden_states.reshape(batch, *grid, channels).permute(0, 3, 1, 2)
    window = (grid.height // pooled.height, grid.width // pooled.width)
    return functional.avg_pool2d(image, window).permute(0, 2, 3, 1).flatten(1, 2)


def _average_cells(hidden_states: Tensor, index: Tensor, sizes: Tensor) -> Tensor:
    batch, _, channels = hidden_states.shape
    accumulate = torch.promote_types(hidden_states.dtype, torch.float32)
    shape = (batch, len(sizes), channels)
    sums = torch.zeros(shape, dtype=accumulate, device=hidden_states.device)
    sums = sums.index_add(1, index, hidden_states.to(accumulate))
    return (sums / sizes[:, None]).to(hidden_states.dtype)
