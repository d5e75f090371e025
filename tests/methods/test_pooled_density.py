"""Pooled blocks: `x + U(block(Wx) - Wx)`, against torch's own pooling and interpolation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from references import record
from tiny_models import FAMILIES, TinyFamily, every_family
from torch.nn import functional

import dit_accel
from dit_accel.errors import PlanError
from dit_accel.methods.cell import Cell
from dit_accel.methods.pooled_density import PooledBlock, PooledDensity
from dit_accel.tokens.grid import Grid


def cell(layer: int = 0, step: int = 0) -> Cell:
    return Cell(layer, 4, step, 11, step / 10, Grid(8, 8))


def down(tokens: torch.Tensor, grid: tuple[int, int], window: tuple[int, int]) -> torch.Tensor:
    image = tokens.mT.unflatten(2, grid)
    return functional.avg_pool2d(image, window).flatten(2).mT


def up(tokens: torch.Tensor, grid: tuple[int, int], window: tuple[int, int]) -> torch.Tensor:
    image = tokens.mT.unflatten(2, grid)
    return functional.interpolate(image, scale_factor=window, mode="nearest").flatten(2).mT


@every_family
@pytest.mark.parametrize("coarse", [(4, 4), (2, 4), (8, 2)])
def test_a_pooled_block_equals_pooling_the_stock_block(
    family: TinyFamily, coarse: tuple[int, int]
) -> None:
    window = (8 // coarse[0], 8 // coarse[1])
    transformer = family.transformer(dtype=torch.float64)
    block = transformer.transformer_blocks[2]
    inputs, outputs, _ = record([block])
    arguments: list[Any] = []
    block.register_forward_pre_hook(lambda _, args, kw: arguments.append(kw), with_kwargs=True)
    plan = {"density": {"kind": "pooled", "grid": list(coarse), "layers": [2, 3]}}
    dit_accel.accelerate(transformer, plan)
    latents = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    with torch.no_grad(), dit_accel.run(transformer, timesteps=1):
        family.predict(transformer, latents, 500, family.condition((1, 2), torch.float64))
        dit_accel.restore(transformer)
        (x,), (got,) = inputs[0][:1], outputs[0][:1]
        small = down(x, (8, 8), window)
        inner = type(block).forward(block, small, **arguments[0])
    expected = x + up(inner - small, coarse, window)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)
    assert not torch.allclose(got, x, atol=1e-3)


@pytest.mark.parametrize("name", ["alpha", "sigma"])
def test_a_rectangular_grid_is_pooled_along_its_own_sides(name: str) -> None:
    family = FAMILIES[name]
    transformer = family.transformer(dtype=torch.float64)
    inputs, outputs, _ = record([transformer.transformer_blocks[0]])
    inner, _, _ = record([transformer.transformer_blocks[0].attn2])
    dit_accel.accelerate(transformer, {"density": {"kind": "pooled", "pool": 2, "layers": [0, 1]}})
    latents = torch.randn(1, 4, 4, 12, dtype=torch.float64)
    with torch.no_grad(), dit_accel.run(transformer, timesteps=1):
        family.predict(transformer, latents, 500, family.condition((1,), torch.float64))
    change = outputs[0][0] - inputs[0][0]
    cells = down(change, (4, 12), (2, 2))
    assert inner[0][0].shape[1] == 12
    torch.testing.assert_close(up(cells, (2, 6), (2, 2)), change, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("coarse", [Grid(4, 4), Grid(3, 5), Grid(1, 1)])
def test_maps_that_are_constant_over_the_cells_are_exact(coarse: Grid) -> None:
    """With a block that treats tokens alike, which attention over equal cells does too."""
    from dit_accel.tokens.pool import unpool

    full = Grid(8, 8)
    hidden_states = unpool(torch.randn(2, coarse.size, 6, dtype=torch.float64), full, coarse)
    block = torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.Tanh()).double()
    got = PooledBlock(full, coarse)(block, hidden_states)
    torch.testing.assert_close(got, block(hidden_states), rtol=1e-12, atol=1e-12)


def test_detail_inside_a_cell_passes_unchanged() -> None:
    hidden_states = torch.randn(1, 64, 5, dtype=torch.float64)
    operator = PooledBlock(Grid(8, 8), Grid(4, 4))
    change = operator(lambda x: x + 3.0, hidden_states) - hidden_states
    torch.testing.assert_close(change, torch.full_like(change, 3.0))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"pool": 2}, Grid(4, 4)),
        ({"pool": 3}, Grid(3, 3)),
        ({"pool": 100}, Grid(1, 1)),
        ({"pool": 1}, None),
        ({"grid": [4, 2]}, Grid(4, 2)),
        ({"grid": [64, 64]}, None),
        ({"grid": [64, 2]}, Grid(8, 2)),
    ],
)
def test_the_coarse_grid(fields: dict[str, Any], expected: Grid | None) -> None:
    operator = PooledDensity(**fields).operator(cell())
    assert (operator.grid if operator else None) == expected


def test_the_grid_may_follow_a_schedule_and_layers_and_steps_a_range() -> None:
    schedule = {"schedule": "linear", "start": [2, 2], "end": [8, 8]}
    config = PooledDensity(grid=schedule, layers=[1, 3], steps=[0, 6])
    sides = [config.operator(cell(layer=1, step=step)) for step in (0, 5)]
    assert [operator.grid for operator in sides if operator] == [Grid(2, 2), Grid(5, 5)]
    assert config.operator(cell(layer=1, step=6)) is None
    assert [config.operator(cell(layer=layer)) is None for layer in range(4)] == [
        True,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("fields", [{}, {"pool": 2, "grid": [4, 4]}])
def test_exactly_one_size_is_given(fields: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match="exactly one of"):
        PooledDensity(**fields)
