"""Pooling over the cells of a coarser grid, and its inverse."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from dit_accel.tokens.grid import Grid, cell_index, cell_sizes
from dit_accel.tokens.pool import pool, unpool

PAIRS = [
    (Grid(8, 8), Grid(4, 4)),
    (Grid(8, 8), Grid(3, 5)),
    (Grid(17, 24), Grid(5, 7)),
    (Grid(6, 4), Grid(3, 4)),
    (Grid(6, 4), Grid(4, 2)),
    (Grid(5, 3), Grid(1, 1)),
    (Grid(1, 7), Grid(1, 2)),
]


@st.composite
def grid_pairs(draw: st.DrawFn) -> tuple[Grid, Grid]:
    """Draw a grid and a coarser one, dividing it or not."""
    height, width = draw(st.integers(1, 16)), draw(st.integers(1, 16))
    pooled = Grid(draw(st.integers(1, height)), draw(st.integers(1, width)))
    return Grid(height, width), pooled


def random_tokens(grid: Grid, batch: int = 2, dtype: torch.dtype = torch.float64) -> Tensor:
    """Draw tokens ``[batch, N, 3]``."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, grid.size, 3, dtype=torch.float64, generator=generator).to(dtype)


def block(hidden_states: Tensor, key_bias: Tensor | None = None) -> Tensor:
    """Apply a position-free residual attention block with fixed weights to ``[B, N, 3]``."""
    generator = torch.Generator().manual_seed(7)
    projections = torch.randn(3, 3, 3, dtype=hidden_states.dtype, generator=generator)
    query, key, value = (hidden_states @ projection for projection in projections)
    logits = query @ key.mT / math.sqrt(3)
    if key_bias is not None:
        logits = logits + key_bias
    return hidden_states + torch.tanh(logits.softmax(-1) @ value)


def delta_form(hidden_states: Tensor, grid: Grid, pooled: Grid, blocks: int = 1) -> Tensor:
    """Run ``blocks`` blocks on pooled tokens and add what they changed."""
    coarse = pool(hidden_states, grid, pooled)
    out = coarse
    for _ in range(blocks):
        out = block(out)
    return hidden_states + unpool(out - coarse, grid, pooled)


def test_ramp() -> None:
    ramp = torch.arange(16.0).reshape(1, 16, 1)
    coarse = pool(ramp, Grid(4, 4), Grid(2, 2))
    assert coarse.flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    detail = ramp - unpool(coarse, Grid(4, 4), Grid(2, 2))
    assert detail.flatten()[:4].tolist() == [-2.5, -1.5, -2.5, -1.5]
    assert detail.flatten()[4:8].tolist() == [1.5, 2.5, 1.5, 2.5]


def test_delta_form_by_hand() -> None:
    tokens = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1)
    coarse = pool(tokens, Grid(2, 2), Grid(1, 1))
    assert coarse.flatten().tolist() == [2.5]
    out = tokens + unpool(torch.full_like(coarse, 3.0) - coarse, Grid(2, 2), Grid(1, 1))
    assert out.flatten().tolist() == [1.5, 2.5, 3.5, 4.5]


@pytest.mark.parametrize(("grid", "pooled"), PAIRS)
def test_pool_is_the_mean_of_each_cell(grid: Grid, pooled: Grid) -> None:
    tokens = random_tokens(grid)
    index = cell_index(grid, pooled)
    means = [tokens[:, index == cell].mean(dim=1) for cell in range(pooled.size)]
    torch.testing.assert_close(
        pool(tokens, grid, pooled), torch.stack(means, dim=1), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(("grid", "pooled"), PAIRS)
def test_unpool_follows_the_map(grid: Grid, pooled: Grid) -> None:
    cells = random_tokens(pooled)
    expected = cells[:, cell_index(grid, pooled)]
    assert torch.equal(unpool(cells, grid, pooled), expected)


def test_agrees_with_torch_when_the_grid_divides() -> None:
    grid, pooled = Grid(12, 8), Grid(3, 4)
    tokens = random_tokens(grid)
    image = tokens.mT.reshape(2, 3, 12, 8)
    coarse = functional.adaptive_avg_pool2d(image, (3, 4))
    result = pool(tokens, grid, pooled)
    torch.testing.assert_close(result, coarse.flatten(2).mT, rtol=0, atol=1e-12)
    fine = functional.interpolate(coarse, size=(12, 8), mode="nearest")
    torch.testing.assert_close(unpool(result, grid, pooled), fine.flatten(2).mT, rtol=0, atol=1e-12)


@settings(deadline=None)
@given(grid_pairs())
def test_pool_undoes_unpool_on_every_grid(pair: tuple[Grid, Grid]) -> None:
    grid, pooled = pair
    cells = random_tokens(pooled)
    back = pool(unpool(cells, grid, pooled), grid, pooled)
    torch.testing.assert_close(back, cells, rtol=0, atol=1e-12)


@settings(deadline=None)
@given(grid_pairs())
def test_constants_stay_constant(pair: tuple[Grid, Grid]) -> None:
    grid, pooled = pair
    tokens = torch.full((1, grid.size, 2), 0.3, dtype=torch.float64)
    expected = torch.full((1, pooled.size, 2), 0.3, dtype=torch.float64)
    torch.testing.assert_close(pool(tokens, grid, pooled), expected, rtol=0, atol=1e-12)


def test_same_grid_is_the_same_object() -> None:
    grid = Grid(3, 5)
    tokens = random_tokens(grid)
    assert pool(tokens, grid, grid) is tokens
    assert unpool(tokens, grid, grid) is tokens


def test_permuting_inside_a_cell_changes_nothing() -> None:
    grid, pooled = Grid(7, 5), Grid(3, 2)
    tokens = random_tokens(grid)
    order = cell_index(grid, pooled).argsort(stable=True)
    shuffled = tokens.clone()
    first_cell = order[: int(cell_sizes(grid, pooled)[0])]
    shuffled[:, first_cell] = tokens[:, first_cell.flip(0)]
    torch.testing.assert_close(
        pool(shuffled, grid, pooled), pool(tokens, grid, pooled), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("pooled", [Grid(4, 4), Grid(2, 8), Grid(3, 5), Grid(6, 6)])
def test_one_segment_equals_pooling_around_each_block(pooled: Grid) -> None:
    """P U = I makes it enough to pool once per segment, here on every grid."""
    grid = Grid(8, 8)
    tokens = random_tokens(grid)
    once = delta_form(tokens, grid, pooled, blocks=3)
    each = tokens
    for _ in range(3):
        each = delta_form(each, grid, pooled)
    torch.testing.assert_close(once, each, rtol=0, atol=1e-12)


@pytest.mark.parametrize("pooled", [Grid(4, 4), Grid(3, 5), Grid(1, 1)])
def test_delta_form_is_exact_for_constant_tokens(pooled: Grid) -> None:
    grid = Grid(8, 8)
    tokens = random_tokens(Grid(1, 1)).expand(-1, grid.size, -1)
    torch.testing.assert_close(delta_form(tokens, grid, pooled), block(tokens), rtol=0, atol=1e-12)


def test_delta_form_is_exact_for_tokens_constant_on_equal_cells() -> None:
    grid, pooled = Grid(8, 6), Grid(4, 3)
    tokens = unpool(random_tokens(pooled), grid, pooled)
    torch.testing.assert_close(delta_form(tokens, grid, pooled), block(tokens), rtol=0, atol=1e-12)


def test_unequal_cells_need_the_logarithm_of_their_sizes() -> None:
    grid, pooled = Grid(8, 8), Grid(3, 3)
    coarse = random_tokens(pooled)
    tokens = unpool(coarse, grid, pooled)
    dense = block(tokens)
    assert (unpool(block(coarse), grid, pooled) - dense).abs().max() > 1e-3
    weighted = block(coarse, key_bias=cell_sizes(grid, pooled).double().log())
    torch.testing.assert_close(unpool(weighted, grid, pooled), dense, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("pooled", [Grid(4, 4), Grid(3, 3), Grid(1, 1)])
def test_half_precision_is_accumulated_in_float32(dtype: torch.dtype, pooled: Grid) -> None:
    grid = Grid(32, 32)
    tokens = (100.0 + random_tokens(grid)).to(dtype)
    result = pool(tokens, grid, pooled)
    assert result.dtype == dtype
    exact = pool(tokens.double(), grid, pooled)
    # Half a unit in the last place: the only rounding left is that of the result.
    assert (result.double() - exact).abs().max() <= torch.finfo(dtype).eps * 64 / 2 * 1.01


def test_gradient_is_the_transposed_map() -> None:
    grid, pooled = Grid(5, 4), Grid(2, 3)
    tokens = random_tokens(grid, batch=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pool(x, grid, pooled), tokens)
    cells = random_tokens(pooled, batch=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: unpool(z, grid, pooled), cells)


def test_inference_mode_then_training() -> None:
    """Nothing made under inference mode may be kept for a later backward."""
    grid, pooled = Grid(5, 4), Grid(2, 3)
    with torch.inference_mode():
        pool(random_tokens(grid), grid, pooled)
    tokens = random_tokens(grid).requires_grad_()
    torch.autograd.grad(pool(tokens, grid, pooled).sum(), tokens)


def test_wrong_sizes_are_named() -> None:
    tokens = random_tokens(Grid(4, 4))
    with pytest.raises(ValueError, match="16 tokens for a 4x5 grid, which has 20"):
        pool(tokens, Grid(4, 5), Grid(2, 2))
    with pytest.raises(ValueError, match=r"4x4 .* 5x4"):
        pool(tokens, Grid(4, 4), Grid(5, 4))
    with pytest.raises(ValueError, match="16 tokens for a 2x2 grid, which has 4"):
        unpool(tokens, Grid(4, 4), Grid(2, 2))
    with pytest.raises(ValueError, match=r"2x2 .* 4x4"):
        unpool(tokens, Grid(2, 2), Grid(4, 4))
    with pytest.raises(ValueError, match=r"\[B, N, C\]"):
        pool(tokens[0], Grid(4, 4), Grid(2, 2))


@pytest.mark.parametrize("pooled", [Grid(4, 4), Grid(3, 3)])
def test_meta_device(pooled: Grid) -> None:
    tokens = torch.empty(2, 64, 3, device="meta")
    coarse = pool(tokens, Grid(8, 8), pooled)
    assert coarse.is_meta and coarse.shape == (2, pooled.size, 3)
    assert unpool(coarse, Grid(8, 8), pooled).shape == tokens.shape
