"""The maps between a grid and a coarser one, made once and used by many calls.

`dit_accel.tokens.pool` makes them by some twenty small operations a call where a side does not
divide. Whoever pools at every step makes them before: outside of any trace, and outside of
``torch.inference_mode``, since training may need them for backward.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dit_accel.tokens.grid import Grid, cell_index, cell_sizes, check_pooled


@dataclass(frozen=True)
class Cells:
    """On one device.

    Attributes:
        full: the fine grid, ``N`` tokens.
        grid: the coarse one, ``M`` tokens.
        index: the cell of each token, ``[N]``; `None` where both sides divide, which needs no map.
        sizes: tokens of each cell, ``[M]``; `None` likewise.
    """

    full: Grid
    grid: Grid
    index: Tensor | None
    sizes: Tensor | None


def cells_between(full: Grid, grid: Grid, device: torch.device | str | None = None) -> Cells:
    """Make the maps.

    Raises:
        ValueError: ``grid`` is larger than ``full``, or empty.
    """
    check_pooled(full, grid)
    if full.height % grid.height == 0 and full.width % grid.width == 0:
        return Cells(full, grid, None, None)
    return Cells(full, grid, cell_index(full, grid, device), cell_sizes(full, grid, device))
