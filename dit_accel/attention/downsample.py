"""Attention with fewer keys and values: the tokens they come from are averaged on a coarser grid.

ToDo (Smith et al., arXiv 2402.13573) keeps every query and down-samples keys and values, so
attention costs ``N * N / f**2`` instead of ``N * N`` and nothing has to be unmerged. ToDo takes the
nearest token; here the tokens of a cell are averaged, which keeps the low frequencies unaliased.

Pooling the *input* of the key and value projections equals pooling keys and values, because a
mean commutes with an affine map, and it spares the projections of the tokens left out. It does
not commute with what comes after them: with a norm on the keys (QK-norm) pooling before it gives
keys of full norm where pooling after it shrinks them, and with rotary embeddings the
projected keys must be pooled after the rotation, ``[B, N, heads * head_dim]`` by the same function.

With a grid that ``factor`` does not divide, cells differ in size; add the logarithm of
`dit_accel.tokens.grid.cell_sizes` to the key logits to weigh them by it.
"""

from torch import Tensor

from dit_accel.tokens.grid import Grid
from dit_accel.tokens.pool import pool


def downsampled_grid(grid: Grid, factor: int) -> Grid:
    """Return the grid with each side divided by ``factor``, rounded up.

    Raises:
        ValueError: ``factor`` is less than 1.
    """
    if factor < 1:
        raise ValueError(f"the down-sampling factor must be at least 1, got {factor}")
    return Grid(-(-grid.height // factor), -(-grid.width // factor))


def downsample(hidden_states: Tensor, grid: Grid, factor: int) -> Tensor:
    """Average the tokens that keys and values are made of by ``factor`` on each side.

    Args:
        hidden_states: ``[B, N, C]`` in raster order, ``N = grid.size``.
        grid: the grid of the tokens.
        factor: tokens per cell on each side.

    Returns:
        ``[B, M, C]``, ``M = downsampled_grid(grid, factor).size``; the input itself for factor 1.

    Raises:
        ValueError: ``N != grid.size``, or ``factor`` is less than 1.
    """
    return pool(hidden_states, grid, downsampled_grid(grid, factor))
