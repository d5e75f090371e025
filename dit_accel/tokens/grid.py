"""Token grids, and the partition of a fine grid into the cells of a coarser one.

Image tokens lie in raster order (row by row) on a ``Grid(height, width)``. A coarser grid divides
the fine one into cells: row ``i`` of ``H`` belongs to row ``floor(i * H' / H)`` of ``H'``, and
columns likewise. This is a true partition for every ``1 <= H' <= H``, also where ``H'`` does not
divide ``H``, unlike the overlapping windows of ``AdaptiveAvgPool2d``; since pooling and unpooling
share the map, ``pool(unpool(z)) == z`` on every grid.

The maps are computed by a few integer operations on the device at each call instead of being
cached here: a cached tensor might be a fake one made under tracing, and could not be saved for
backward if it was first made under ``torch.inference_mode``. Who knows better keeps
`dit_accel.tokens.cells`.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Grid(NamedTuple):
    """Height and width of a token grid, in tokens."""

    height: int
    width: int

    @property
    def size(self) -> int:
        """Number of tokens on the grid."""
        return self.height * self.width

    def __str__(self) -> str:
        """Return ``HxW``, as error messages and tables print it."""
        return f"{self.height}x{self.width}"


def check_pooled(grid: Grid, pooled: Grid) -> None:
    """Raise `ValueError` unless ``pooled`` has between 1 and ``grid`` tokens on each side."""
    if not (1 <= pooled.height <= grid.height and 1 <= pooled.width <= grid.width):
        raise ValueError(
            f"a {grid} token grid cannot be pooled to {pooled}: each side must be "
            f"at least 1 and at most that of the grid"
        )


def check_tokens(tokens: Tensor, grid: Grid) -> None:
    """Raise `ValueError` unless ``tokens`` is ``[B, N, C]`` with ``N == grid.size``."""
    if tokens.ndim != 3:
        raise ValueError(f"expected tokens of shape [B, N, C], got {tuple(tokens.shape)}")
    if tokens.shape[1] != grid.size:
        raise ValueError(f"got {tokens.shape[1]} tokens for a {grid} grid, which has {grid.size}")


def cell_index(grid: Grid, pooled: Grid, device: torch.device | str | None = None) -> Tensor:
    """Map each token of ``grid`` to the cell of ``pooled`` it lies in.

    Args:
        grid: the fine grid, ``N = grid.size`` tokens.
        pooled: the coarse grid, no larger than ``grid`` on either side.
        device: where to make the map; the default device when None.

    Returns:
        Long tensor ``[N]`` of raster indices into ``pooled``.

    Raises:
        ValueError: ``pooled`` is larger than ``grid``, or empty.
    """
    check_pooled(grid, pooled)
    rows = torch.arange(grid.height, device=device) * pooled.height // grid.height
    columns = torch.arange(grid.width, device=device) * pooled.width // grid.width
    return (rows[:, None] * pooled.width + columns).flatten()


def cell_sizes(grid: Grid, pooled: Grid, device: torch.device | str | None = None) -> Tensor:
    """Count the tokens of ``grid`` in each cell of ``pooled``.

    Their logarithm, added to the key logits, makes attention over cell means exact for tokens
    that are constant on every cell, also where cells differ in size.

    Returns:
        Long tensor ``[M]``, ``M = pooled.size``, of positive counts that sum to ``grid.size``.

    Raises:
        ValueError: ``pooled`` is larger than ``grid``, or empty.
    """
    check_pooled(grid, pooled)
    rows = _interval_lengths(grid.height, pooled.height, device)
    columns = _interval_lengths(grid.width, pooled.width, device)
    return (rows[:, None] * columns).flatten()


def _interval_lengths(length: int, parts: int, device: torch.device | str | None) -> Tensor:
    # floor(i * parts / length) == p exactly for i in [ceil(p * length / parts), the next such).
    bounds = (torch.arange(parts + 1, device=device) * length + parts - 1) // parts
    return bounds[1:] - bounds[:-1]
