"""Learned parts of a density segment: what a fresh one is, and the two equations in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dit_accel.nn import delta_segment, sparse_segment
from dit_accel.nn.cast_linear import CastLinear
from dit_accel.nn.delta_segment import DeltaSegment
from dit_accel.nn.paper_segment import PaperSegment
from dit_accel.nn.pooling_attention import pooling_attention
from dit_accel.nn.sparse_segment import Entered, SparseSegment
from dit_accel.tokens.adaptive import adaptive_pool
from dit_accel.tokens.cells import cells_between
from dit_accel.tokens.grid import Grid
from dit_accel.tokens.pool import pool, unpool

FULL, GRIDS = Grid(6, 8), [Grid(3, 4), Grid(2, 8), Grid(4, 5), Grid(1, 1), Grid(6, 8)]
CHANNELS = 8


def tokens(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, count, CHANNELS, generator=generator, dtype=torch.float64)


def trained(kind: type[SparseSegment], **options: Any) -> SparseSegment:
    segment = kind(CHANNELS, **options, dtype=torch.float64)
    for index, parameter in enumerate(segment.parameters()):
        generator = torch.Generator().manual_seed(index)
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return segment


def nearest(sparse: Tensor, grid: Grid) -> Tensor:
    image = sparse.mT.unflatten(2, tuple(grid))
    return functional.interpolate(image, size=tuple(FULL), mode="nearest").flatten(2).mT


def enter(segment: SparseSegment, dense: Tensor, grid: Grid) -> Entered:
    return segment.enter(dense, cells_between(FULL, grid), tokens(grid.size, 5)[0])


def leave(segment: SparseSegment, sparse: Tensor, entered: Entered, grid: Grid) -> Tensor:
    return segment.leave(sparse, entered, cells_between(FULL, grid), tokens(FULL.size, 9)[0])


@pytest.mark.parametrize("grid", GRIDS)
def test_a_fresh_delta_adds_the_change_and_nothing_else(grid: Grid) -> None:
    segment, dense = DeltaSegment(CHANNELS, dtype=torch.float64), tokens(FULL.size)
    entered = enter(segment, dense, grid)
    assert torch.equal(entered.sparse, pool(dense, FULL, grid))
    assert torch.equal(entered.sparse, entered.pooled)
    sparse = tokens(grid.size, 1)
    expected = dense + nearest(sparse - entered.sparse, grid)
    got = leave(segment, sparse, entered, grid)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    assert torch.equal(leave(segment, entered.sparse, entered, grid), dense)
    if grid == FULL:
        torch.testing.assert_close(got, sparse, rtol=0, atol=1e-14)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_fresh_paper_recovery_is_the_dense_map(grid: Grid) -> None:
    segment, dense = PaperSegment(CHANNELS, dtype=torch.float64), tokens(FULL.size)
    entered = enter(segment, dense, grid)
    assert torch.equal(entered.sparse, adaptive_pool(dense, FULL, grid))
    assert torch.equal(leave(segment, tokens(grid.size, 1), entered, grid), dense)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("detail", [True, False])
def test_a_trained_delta_is_the_equation(grid: Grid, detail: bool) -> None:
    """With the identity beside what is learned, and the detail upsampled apart."""
    segment = trained(DeltaSegment, detail=detail)
    dense, sparse = tokens(FULL.size), tokens(grid.size, 1)
    assert isinstance(segment, DeltaSegment)
    entered, here = enter(segment, dense, grid), tokens(grid.size, 5)[0]
    pooled = pool(dense, FULL, grid)
    torch.testing.assert_close(entered.sparse, pooled + segment.entry_position.data * here)
    mapped = torch.eye(CHANNELS, dtype=torch.float64) + segment.change.weight
    expected = dense + nearest(sparse - entered.sparse, grid) @ mapped.mT + segment.change.bias
    if segment.detail is not None:
        expected = expected + (dense - unpool(pooled, FULL, grid)) @ segment.detail.weight.mT
    expected = expected + segment.exit_position * tokens(FULL.size, 9)[0]
    assert (segment.detail is not None) == detail
    torch.testing.assert_close(leave(segment, sparse, entered, grid), expected)


def test_half_precision_rounds_what_was_learned_and_not_the_identity() -> None:
    """bfloat16 knows no number between 1 and 1.0078; the difference of 0.001 from 1 it does."""
    segment = DeltaSegment(CHANNELS)
    with torch.no_grad():
        segment.change.weight.copy_(0.001 * torch.eye(CHANNELS))
    learned = segment.bfloat16().change.weight
    torch.testing.assert_close(
        learned.float().diagonal(), torch.full((CHANNELS,), 0.001), rtol=4e-3, atol=0
    )


def test_a_delta_segment_upsamples_once_and_pools_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    for module, name, function in (
        (delta_segment, "pool", pool),
        (sparse_segment, "unpool", unpool),
    ):

        def noted(*args: Any, name: str = name, function: Any = function) -> Tensor:
            seen.append(name)
            result: Tensor = function(*args)
            return result

        monkeypatch.setattr(module, name, noted)
    segment, dense, grid = trained(DeltaSegment), tokens(48), Grid(4, 5)
    entered = enter(segment, dense, grid)
    leave(segment, tokens(grid.size, 1), entered, grid)
    assert seen == ["pool", "unpool"]


@pytest.mark.parametrize("grid", GRIDS)
def test_a_trained_paper_recovery_is_the_equation(grid: Grid) -> None:
    """Linear on N upsampled tokens, as in the release."""
    segment, dense, sparse = trained(PaperSegment), tokens(FULL.size), tokens(grid.size, 1)
    assert isinstance(segment, PaperSegment)
    first = nearest(sparse, grid) @ segment.sparse.weight.mT + segment.sparse.bias
    second = dense @ segment.dense.weight.mT + segment.dense.bias
    expected = first + second + segment.exit_position * tokens(FULL.size, 9)[0]
    got = leave(segment, sparse, Entered(dense, sparse, sparse), grid)
    torch.testing.assert_close(got, expected)


def test_positions_cancel_where_the_blocks_do_nothing() -> None:
    segment, dense, grid = DeltaSegment(CHANNELS, dtype=torch.float64), tokens(48), Grid(3, 4)
    nn.init.ones_(segment.entry_position)
    entered = enter(segment, dense, grid)
    assert not torch.equal(entered.sparse, entered.pooled)
    assert torch.equal(leave(segment, entered.sparse, entered, grid), dense)


@pytest.mark.parametrize("kind", [DeltaSegment, PaperSegment])
def test_every_parameter_gets_a_gradient_from_the_start(kind: type[SparseSegment]) -> None:
    segment, dense, grid = kind(CHANNELS, dtype=torch.float64), tokens(48), Grid(3, 4)
    entered = enter(segment, dense, grid)
    leave(segment, torch.tanh(entered.sparse), entered, grid).square().sum().backward()
    for name, parameter in segment.named_parameters():
        if kind is PaperSegment and name == "entry_position":
            continue  # W1 = 0: the sparse tokens do not reach the recovered map yet
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_weights_keep_their_precision_inside_of_a_half_precision_model() -> None:
    linear = CastLinear(4, 4)
    assert linear(torch.randn(2, 4).bfloat16()).dtype == torch.bfloat16
    assert linear.weight.dtype == torch.float32


def test_the_worked_pooling_attention_of_the_fact_sheet() -> None:
    """u = (1, 2, 6), W_v = 2, b_v = 1, W_o = 3, b_o = -1: 20 for all three."""
    mean = torch.tensor([[[1.0], [2.0], [6.0]]])
    got = pooling_attention(lambda token: 3 * (2 * token + 1) - 1, mean)
    assert got.tolist() == [[[20.0], [20.0], [20.0]]]
