"""The partition of a token grid into cells."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dit_accel.tokens.grid import Grid, cell_index, cell_sizes


@st.composite
def grid_pairs(draw: st.DrawFn) -> tuple[Grid, Grid]:
    """Draw a grid and a coarser one, dividing it or not."""
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    pooled = Grid(draw(st.integers(1, height)), draw(st.integers(1, width)))
    return Grid(height, width), pooled


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (6, [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5]),
        (10, [0, 0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 6, 7, 8, 8, 9]),
    ],
)
def test_cells_of_one_side(parts: int, expected: list[int]) -> None:
    assert cell_index(Grid(16, 1), Grid(parts, 1)).tolist() == expected
    assert cell_index(Grid(1, 16), Grid(1, parts)).tolist() == expected


def test_raster_order() -> None:
    assert cell_index(Grid(2, 4), Grid(1, 2)).tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert cell_index(Grid(4, 2), Grid(2, 1)).tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


@settings(deadline=None)
@given(grid_pairs())
def test_index_is_the_stated_formula(pair: tuple[Grid, Grid]) -> None:
    grid, pooled = pair
    expected = [
        (row * pooled.height // grid.height) * pooled.width + column * pooled.width // grid.width
        for row in range(grid.height)
        for column in range(grid.width)
    ]
    assert cell_index(grid, pooled).tolist() == expected


@settings(deadline=None)
@given(grid_pairs())
def test_sizes_count_the_partition(pair: tuple[Grid, Grid]) -> None:
    grid, pooled = pair
    counts = torch.bincount(cell_index(grid, pooled), minlength=pooled.size)
    assert torch.equal(cell_sizes(grid, pooled), counts)
    assert counts.min() >= 1


def test_uneven_cells() -> None:
    assert cell_sizes(Grid(8, 1), Grid(3, 1)).tolist() == [3, 3, 2]


@pytest.mark.parametrize("pooled", [Grid(5, 2), Grid(2, 5), Grid(0, 2)])
def test_pooled_grid_must_fit(pooled: Grid) -> None:
    with pytest.raises(ValueError, match=f"4x4 .* {pooled}"):
        cell_index(Grid(4, 4), pooled)
    with pytest.raises(ValueError, match=f"4x4 .* {pooled}"):
        cell_sizes(Grid(4, 4), pooled)


def test_device() -> None:
    assert cell_index(Grid(4, 4), Grid(3, 3), "meta").is_meta
    assert cell_sizes(Grid(4, 4), Grid(3, 3), "meta").is_meta
