"""Average pooling by windows that overlap, against worked numbers and means of slices."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dit_accel.tokens.adaptive import adaptive_pool
from dit_accel.tokens.grid import Grid
from dit_accel.tokens.pool import pool, unpool


def means(length: int, parts: int) -> list[float]:
    """Of 0 .. length - 1 over the windows of the fact sheet."""
    windows = [
        range(i * length // parts, math.ceil((i + 1) * length / parts)) for i in range(parts)
    ]
    return [sum(window) / len(window) for window in windows]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (6, [1, 3.5, 6, 9, 11.5, 14]),
        (10, [0.5, 2, 3.5, 5, 6.5, 8.5, 10, 11.5, 13, 14.5]),
    ],
)
def test_worked_numbers_of_sixteen(parts: int, expected: list[float]) -> None:
    ramp = torch.arange(16.0, dtype=torch.float64)[None, :, None]
    got = adaptive_pool(ramp, Grid(1, 16), Grid(1, parts))
    assert got.flatten().tolist() == pytest.approx(expected)
    assert means(16, parts) == pytest.approx(expected)


def test_a_ramp_of_four_by_four() -> None:
    ramp = torch.arange(16.0)[None, :, None]
    halves = adaptive_pool(ramp, Grid(4, 4), Grid(2, 2)).flatten().tolist()
    assert halves == [2.5, 4.5, 10.5, 12.5]
    thirds = adaptive_pool(ramp, Grid(4, 4), Grid(3, 3)).flatten().tolist()
    assert thirds == [2.5, 3.5, 4.5, 6.5, 7.5, 8.5, 10.5, 11.5, 12.5]


@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_any_target_on_any_rectangle(height: int, width: int, data: st.DataObject) -> None:
    down, across = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    rows, columns = torch.arange(float(height)), 100.0 * torch.arange(float(width))
    tokens = (rows[:, None] + columns).flatten()[None, :, None].double()
    got = adaptive_pool(tokens, Grid(height, width), Grid(down, across)).reshape(down, across)
    expected = torch.tensor(means(height, down))[:, None] + 100 * torch.tensor(means(width, across))
    torch.testing.assert_close(got, expected.double(), rtol=1e-6, atol=1e-6)


def test_equals_the_partition_where_the_sides_divide_and_has_no_inverse_elsewhere() -> None:
    tokens = torch.randn(2, 64, 3, dtype=torch.float64)
    full = Grid(8, 8)
    for side in (1, 2, 4, 8):
        grid = Grid(side, side)
        torch.testing.assert_close(adaptive_pool(tokens, full, grid), pool(tokens, full, grid))
    sparse = torch.randn(2, 9, 3, dtype=torch.float64)
    back = unpool(sparse, full, Grid(3, 3))
    assert not torch.allclose(adaptive_pool(back, full, Grid(3, 3)), sparse)
    torch.testing.assert_close(pool(back, full, Grid(3, 3)), sparse)


def test_half_precision_is_averaged_in_single() -> None:
    tokens = torch.randn(1, 4096, 8).bfloat16()
    got = adaptive_pool(tokens, Grid(64, 64), Grid(1, 1))
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got[0, 0].float(), tokens.float().mean(1)[0], rtol=1e-2, atol=1e-4)


def test_the_full_grid_is_the_input_and_larger_ones_are_refused() -> None:
    tokens = torch.randn(1, 6, 2)
    assert adaptive_pool(tokens, Grid(2, 3), Grid(2, 3)) is tokens
    with pytest.raises(ValueError, match="cannot be pooled"):
        adaptive_pool(tokens, Grid(2, 3), Grid(3, 3))
