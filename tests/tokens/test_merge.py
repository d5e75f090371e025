"""The algebra of merging, and agreement with the ``tomesd`` package."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tomesd.merge import bipartite_soft_matching_random2d
from torch import Tensor

from dit_accel.tokens.grid import Grid
from dit_accel.tokens.match import (
    Destinations,
    Matching,
    draw_destinations,
    match_bipartite,
    mix_seed,
)
from dit_accel.tokens.merge import merge, merged_sizes, unmerge


def random_tokens(grid: Grid, batch: int = 2, seed: int = 0) -> Tensor:
    """Draw tokens ``[batch, N, 5]`` in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, grid.size, 5, dtype=torch.float64, generator=generator)


def random_sizes(grid: Grid, batch: int = 2) -> Tensor:
    """Draw positive sizes ``[batch, N]`` in float64."""
    generator = torch.Generator().manual_seed(9)
    return torch.randint(1, 6, (batch, grid.size), generator=generator).double()


def materialise(matching: Matching, sizes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return ``W [B, M, N]`` and ``U [B, N, M]`` by acting on unit vectors."""
    batch, num_tokens = matching.assignment.shape
    unit = torch.eye(num_tokens, dtype=torch.float64).expand(batch, -1, -1)
    merged_unit = torch.eye(matching.num_rows, dtype=torch.float64).expand(batch, -1, -1)
    return merge(unit, matching, sizes), unmerge(merged_unit, matching)


@st.composite
def matchings(draw: st.DrawFn) -> tuple[Grid, Matching]:
    """Draw a grid, divisible by the stride or not, and a matching of random features."""
    grid = Grid(draw(st.integers(2, 7)), draw(st.integers(2, 7)))
    stride = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    destinations = draw_destinations(grid, stride, draw(st.integers(0, 99)))
    num_merged = draw(st.integers(0, grid.size))
    return grid, match_bipartite(random_tokens(grid, seed=3), destinations, num_merged)


@settings(deadline=None)
@given(matchings(), st.booleans())
def test_algebra(drawn: tuple[Grid, Matching], weighted: bool) -> None:
    grid, matching = drawn
    sizes = random_sizes(grid) if weighted else None
    w, u = materialise(matching, sizes)
    assert (w >= 0).all()
    torch.testing.assert_close(w.sum(-1), torch.ones_like(w[..., 0]), rtol=0, atol=1e-12)
    identity = torch.eye(matching.num_rows, dtype=torch.float64).expand_as(w @ u)
    torch.testing.assert_close(w @ u, identity, rtol=0, atol=1e-12)
    projection = u @ w
    torch.testing.assert_close(projection @ projection, projection, rtol=0, atol=1e-12)
    before = torch.ones(2, grid.size) if sizes is None else sizes
    after = merged_sizes(matching, sizes)
    assert torch.equal(after.sum(1), before.sum(1))
    # The size-weighted sum of all tokens survives: s' W = s.
    back = (after.double()[:, None] @ w)[:, 0]
    torch.testing.assert_close(back, before.double(), rtol=0, atol=1e-12)


def test_worked_example() -> None:
    destinations = Destinations(dst=torch.tensor([0, 3]), src=torch.tensor([1, 2, 4]))
    metric = torch.tensor([[[1.0, 0.0], [1.0, 0.1], [1.0, -1.0], [0.0, 1.0], [0.2, 1.0]]])
    matching = match_bipartite(metric, destinations, 2)
    assert matching.merged.tolist() == [[1, 4]] and matching.target.tolist() == [[0, 1]]
    tokens = torch.tensor([10.0, 20.0, 30.0, 40.0, 50.0]).reshape(1, 5, 1)
    merged = merge(tokens, matching)
    assert merged.flatten().tolist() == [30.0, 15.0, 45.0]
    assert merged_sizes(matching).tolist() == [[1.0, 2.0, 2.0]]
    assert unmerge(merged, matching).flatten().tolist() == [15.0, 15.0, 30.0, 45.0, 45.0]
    sizes = torch.tensor([[3.0, 1.0, 1.0, 1.0, 4.0]])
    assert merge(tokens, matching, sizes).flatten().tolist() == [30.0, 12.5, 48.0]
    assert merged_sizes(matching, sizes).tolist() == [[1.0, 4.0, 5.0]]


def test_merging_twice_is_a_mean_over_the_original_tokens() -> None:
    grid = Grid(4, 4)
    tokens = random_tokens(grid)
    first = match_bipartite(tokens, draw_destinations(grid), 6)
    once, sizes = merge(tokens, first), merged_sizes(first)
    second_grid = Grid(2, 5)
    second = match_bipartite(once, draw_destinations(second_grid, seed=1), 4)
    twice = merge(once, second, sizes)
    rows = second.assignment.gather(1, first.assignment)
    for row in range(2):
        for cell in range(second.num_rows):
            expected = tokens[row, rows[row] == cell].mean(dim=0)
            torch.testing.assert_close(twice[row, cell], expected, rtol=0, atol=1e-12)


def test_merging_nothing_is_a_permutation() -> None:
    grid = Grid(5, 3)
    tokens = random_tokens(grid).bfloat16()
    matching = match_bipartite(tokens, draw_destinations(grid), 0)
    assert torch.equal(unmerge(merge(tokens, matching), matching), tokens)
    assert torch.equal(merged_sizes(matching), torch.ones(2, grid.size))


def test_tokens_constant_on_each_window_survive() -> None:
    """All sources of a window are merged into its destination, whichever that is."""
    grid = Grid(6, 8)
    coarse = random_tokens(Grid(3, 4)).reshape(2, 3, 4, 5)
    tokens = coarse.repeat_interleave(2, 1).repeat_interleave(2, 2).reshape(2, grid.size, 5)
    matching = match_bipartite(tokens, draw_destinations(grid, seed=5), grid.size * 3 // 4)
    assert matching.num_rows == 12
    assert torch.equal(merged_sizes(matching), torch.full((2, 12), 4.0))
    torch.testing.assert_close(
        unmerge(merge(tokens, matching), matching), tokens, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_accumulated_in_float32(dtype: torch.dtype) -> None:
    """256 tokens near 300: their sum overflows float16, and loses the digits of bfloat16."""
    grid = Grid(16, 16)
    tokens = (300.0 + 8 * random_tokens(grid, batch=8)).to(dtype)
    destinations = draw_destinations(grid, (16, 16))
    matching = match_bipartite(random_tokens(grid, batch=8, seed=4), destinations, 255)
    merged = merge(tokens, matching)
    assert merged.dtype == dtype
    assert torch.equal(merged, tokens.double().mean(dim=1, keepdim=True).to(dtype))


def test_unmerged_tokens_are_passed_on_bit_for_bit() -> None:
    grid = Grid(8, 8)
    tokens = random_tokens(grid).half()
    sizes = random_sizes(grid).float() / 3
    matching = match_bipartite(tokens, draw_destinations(grid), 20)
    kept = matching.unmerged.shape[1]
    expected = tokens.gather(1, matching.unmerged[..., None].expand(-1, -1, 5))
    assert torch.equal(merge(tokens, matching, sizes)[:, :kept], expected)


def test_gradients() -> None:
    grid = Grid(3, 4)
    tokens = random_tokens(grid)
    matching = match_bipartite(tokens, draw_destinations(grid), 5)
    assert torch.autograd.gradcheck(lambda x: merge(x, matching), tokens.requires_grad_())
    merged = merge(tokens, matching).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda y: unmerge(y, matching), merged)


def test_wrong_length_is_named() -> None:
    grid = Grid(4, 4)
    matching = match_bipartite(random_tokens(grid), draw_destinations(grid), 6)
    with pytest.raises(ValueError, match="16 tokens to unmerge, the matching left 10"):
        unmerge(random_tokens(grid), matching)


def test_meta_device() -> None:
    tokens = torch.empty(2, 16, 5, device="meta", dtype=torch.bfloat16)
    matching = match_bipartite(tokens, draw_destinations(Grid(4, 4)).to("meta"), 6)
    merged = merge(tokens, matching)
    assert merged.is_meta and merged.shape == (2, 10, 5) and merged.dtype == torch.bfloat16
    assert unmerge(merged, matching).shape == tokens.shape


def test_compiles_to_one_graph() -> None:
    grid = Grid(6, 5)
    destinations = draw_destinations(grid)

    def around(tokens: Tensor) -> tuple[Matching, Tensor]:
        matching = match_bipartite(tokens, destinations, 8)
        return matching, unmerge(merge(tokens, matching) * 2, matching)

    tokens = random_tokens(grid)
    compiled = torch.compile(around, fullgraph=True, backend="aot_eager", dynamic=False)
    matching, result = compiled(tokens)
    assert torch.equal(matching.assignment, around(tokens)[0].assignment)
    torch.testing.assert_close(result, around(tokens)[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("grid", [Grid(8, 8), Grid(4, 10), Grid(7, 5), Grid(9, 6)])
@pytest.mark.parametrize("stride", [(2, 2), (3, 2)])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_agrees_with_tomesd(grid: Grid, stride: tuple[int, int], ratio: float) -> None:
    """The same draw, the same pairs and the same means as the published implementation."""
    metric, tokens = random_tokens(grid, seed=1), random_tokens(grid, seed=2)
    num_merged = int(ratio * grid.size)
    their_merge, their_unmerge = bipartite_soft_matching_random2d(
        metric,
        grid.width,
        grid.height,
        stride[1],
        stride[0],
        num_merged,
        generator=torch.Generator().manual_seed(mix_seed(11)),
    )
    matching = match_bipartite(metric, draw_destinations(grid, stride, seed=11), num_merged)
    ours, theirs = merge(tokens, matching), their_merge(tokens)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(unmerge(ours, matching), their_unmerge(theirs), rtol=0, atol=1e-12)
