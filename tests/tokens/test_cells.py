"""Maps between grids that are kept say the same as those that are made on the way."""

from __future__ import annotations

import pytest
import torch

from dit_accel.tokens.cells import cells_between
from dit_accel.tokens.grid import Grid, cell_index, cell_sizes
from dit_accel.tokens.pool import pool, unpool

FULL = Grid(6, 8)


@pytest.mark.parametrize("grid", [Grid(3, 4), Grid(4, 5), Grid(6, 5), Grid(1, 1), FULL])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_pooling_with_kept_maps_is_pooling(grid: Grid, dtype: torch.dtype) -> None:
    cells = cells_between(FULL, grid)
    dense, sparse = torch.randn(2, 48, 4).to(dtype), torch.randn(2, grid.size, 4).to(dtype)
    assert torch.equal(pool(dense, FULL, grid, cells), pool(dense, FULL, grid))
    assert torch.equal(unpool(sparse, FULL, grid, cells), unpool(sparse, FULL, grid))


def test_there_are_maps_where_a_side_does_not_divide() -> None:
    none, some = cells_between(FULL, Grid(2, 4)), cells_between(FULL, Grid(2, 5))
    assert none.index is none.sizes is None
    assert some.index is not None and some.sizes is not None
    assert torch.equal(some.index, cell_index(FULL, Grid(2, 5)))
    assert torch.equal(some.sizes, cell_sizes(FULL, Grid(2, 5)))


def test_a_finer_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be pooled"):
        cells_between(FULL, Grid(7, 8))
