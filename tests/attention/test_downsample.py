"""Attention with down-sampled keys and values."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dit_accel.attention.downsample import downsample, downsampled_grid
from dit_accel.tokens.grid import Grid, cell_index, cell_sizes
from dit_accel.tokens.pool import unpool


def random_tokens(grid: Grid) -> Tensor:
    """Draw tokens ``[2, N, 8]`` in float64."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, grid.size, 8, dtype=torch.float64, generator=generator)


def linear(seed: int) -> nn.Linear:
    """Make an affine projection with a bias far from zero."""
    torch.manual_seed(seed)
    layer = nn.Linear(8, 8).double().requires_grad_(False)
    layer.bias.add_(1.0)
    return layer


@pytest.mark.parametrize(
    ("grid", "factor"), [(Grid(8, 6), 2), (Grid(6, 9), 3), (Grid(7, 5), 2), (Grid(7, 5), 4)]
)
def test_pooling_the_input_pools_keys_and_values(grid: Grid, factor: int) -> None:
    tokens = random_tokens(grid)
    to_q, to_k, to_v = linear(1), linear(2), linear(3)
    coarse = downsampled_grid(grid, factor)
    averaging = functional.one_hot(cell_index(grid, coarse), coarse.size).double().T
    averaging /= averaging.sum(dim=1, keepdim=True)
    query, key, value = to_q(tokens), averaging @ to_k(tokens), averaging @ to_v(tokens)
    expected = torch.softmax(query @ key.mT / 8**0.5, dim=-1) @ value
    small = downsample(tokens, grid, factor)
    result = functional.scaled_dot_product_attention(query, to_k(small), to_v(small))
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)


def test_constant_tokens_pass_through_attention() -> None:
    grid = Grid(5, 7)
    tokens = torch.full((1, grid.size, 8), 0.7, dtype=torch.float64)
    small = downsample(tokens, grid, 2)
    result = functional.scaled_dot_product_attention(random_tokens(grid)[:1], small, small)
    torch.testing.assert_close(result, tokens, rtol=0, atol=1e-12)


def test_cell_sizes_as_key_bias_make_constant_cells_exact() -> None:
    grid = Grid(7, 5)
    coarse = downsampled_grid(grid, 2)
    tokens = unpool(random_tokens(coarse), grid, coarse)
    dense = functional.scaled_dot_product_attention(tokens, tokens, tokens)
    small = downsample(tokens, grid, 2)
    bias = cell_sizes(grid, coarse).double().log().expand(grid.size, -1)
    result = functional.scaled_dot_product_attention(tokens, small, small, attn_mask=bias)
    torch.testing.assert_close(result, dense, rtol=0, atol=1e-12)


def test_factor_one_is_the_same_object() -> None:
    tokens = random_tokens(Grid(3, 4))
    assert downsample(tokens, Grid(3, 4), 1) is tokens


@pytest.mark.parametrize(
    ("factor", "expected"), [(1, (7, 4)), (2, (4, 2)), (3, (3, 2)), (7, (1, 1)), (99, (1, 1))]
)
def test_grid_is_rounded_up(factor: int, expected: tuple[int, int]) -> None:
    grid = Grid(7, 4)
    assert downsampled_grid(grid, factor) == expected
    small = downsample(random_tokens(grid), grid, factor)
    assert small.shape == (2, expected[0] * expected[1], 8)


def test_factor_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        downsample(random_tokens(Grid(4, 4)), Grid(4, 4), 0)
