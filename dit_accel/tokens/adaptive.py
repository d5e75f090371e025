"""Average pooling by the windows of `AdaptiveAvgPool2d`, to any coarser grid.

FlexDiT / SparseDiT (arXiv 2412.06028) pools like this: window ``i`` of ``H'`` covers the rows from
``floor(i H / H')`` up to ``ceil((i + 1) H / H')`` of ``H``. Where ``H'`` does not divide ``H`` the
windows overlap and differ from the partition of `dit_accel.tokens.grid`, which nearest-neighbour
upsampling inverts: then pooling what `dit_accel.tokens.pool.unpool` made does not give it back.
"""

import torch
from torch import Tensor
from torch.nn import functional

from dit_accel.tokens.grid import Grid, check_pooled, check_tokens


def adaptive_pool(hidden_states: Tensor, grid: Grid, pooled: Grid) -> Tensor:
    """Average tokens over the windows of a coarser grid.

    Args:
        hidden_states: ``[B, N, C]`` in raster order, ``N = grid.size``.
        grid: the grid of the tokens.
        pooled: the grid of the result, no larger than ``grid`` on either side.

    Returns:
        ``[B, M, C]``, ``M = pooled.size``; the input itself when ``pooled == grid``.

    Raises:
        ValueError: ``N != grid.size``, or ``pooled`` is larger than ``grid``.
    """
    check_tokens(hidden_states, grid)
    check_pooled(grid, pooled)
    if pooled == grid:
        return hidden_states
    batch, _, channels = hidden_states.shape
    image = hidden_states.reshape(batch, *grid, channels).permute(0, 3, 1, 2)
    # Averaged in float32: some devices would sum half precision in its own.
    wide = image.to(torch.promote_types(image.dtype, torch.float32))
    windows = functional.adaptive_avg_pool2d(wide, (pooled.height, pooled.width))
    return windows.permute(0, 2, 3, 1).flatten(1, 2).to(hidden_states.dtype)
