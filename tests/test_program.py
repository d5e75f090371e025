"""The table of a run: every step, every layer, what they do."""

from __future__ import annotations

from typing import Any

import pytest
from plans import PLANS
from tiny_models import TinyFamily, every_family, modes

import dit_accel
from dit_accel.methods.cell import NOTHING, Cell
from dit_accel.plan import Plan
from dit_accel.program import cell_at, density_grid, resolve_cell, step_table
from dit_accel.run_state import Position
from dit_accel.tokens.grid import Grid

GRID = Grid(8, 8)


def table(plan: dict[str, Any], steps: int = 6) -> list[Any]:
    return step_table(Plan.load(plan), 4, steps, GRID)


def test_an_empty_plan_does_nothing_anywhere() -> None:
    for step in table({}):
        assert step.caches == () and set(step.layers) == {"compute"}
        assert density_grid(step.cells) is None
        assert all(cell is NOTHING for cell in step.cells)


def test_the_cache_column() -> None:
    interval = table({"cache": {"policy": {"kind": "interval", "interval": 3}}}, steps=9)
    computed = [index for index, step in enumerate(interval) if step.caches == ("compute",)]
    assert computed == [0, 3, 6, 8]
    deciding = table({"cache": {"policy": "first_block"}})
    assert [step.caches for step in deciding][:1] == [("compute",)]
    assert {step.caches for step in deciding[1:]} == {("decide",)}
    assert deciding[1].layers == ("compute", "decide", "decide", "decide")


def test_operators_lie_where_their_ranges_say() -> None:
    plan = {
        "density": {"kind": "pooled", "pool": 2, "layers": [0, 2], "steps": [0, 3]},
        "merge": {"kind": "tome2d", "ratio": 0.5, "layers": [2, 4], "at": ["feed_forward"]},
        "attention": {"kind": "kv_downsample", "factor": 2, "steps": [2, 6]},
    }
    steps = table(plan)
    assert [density_grid(step.cells) for step in steps] == [Grid(4, 4)] * 3 + [None] * 3
    for index, step in enumerate(steps):
        assert [cell.density is not None for cell in step.cells] == [index < 3] * 2 + [False] * 2
        assert [cell.merge_feed_forward is not None for cell in step.cells] == [False] * 2 + [
            True
        ] * 2
        assert all(cell.merge_attention is None for cell in step.cells)
        assert [cell.attention is not None for cell in step.cells] == [index >= 2] * 4


def test_attention_is_asked_about_the_grid_that_density_leaves() -> None:
    plan = Plan.load(
        {
            "density": {"kind": "pooled", "grid": [4, 2], "layers": [0, 1]},
            "attention": {"kind": "kv_downsample", "factor": 2},
        }
    )
    position = Position(0, 5, 0, 0.0, 1)
    inside = resolve_cell(plan, cell_at(0, 4, position, GRID))
    outside = resolve_cell(plan, cell_at(1, 4, position, GRID))
    assert inside.attention.grid == Grid(4, 2) and outside.attention.grid == GRID
    assert cell_at(2, 4, position, GRID) == Cell(2, 4, 0, 5, 0.0, GRID)


@every_family
@pytest.mark.parametrize("name", ["interval_polynomial", "interval_block"])
def test_the_table_is_what_happens(family: TinyFamily, name: str) -> None:
    transformer = dit_accel.accelerate(family.transformer(), PLANS[name])
    with dit_accel.run(transformer, timesteps=9):
        family.denoise(transformer, steps=9)
    told = [step.caches[0] for step in table(PLANS[name], steps=9)]
    assert [{"all": "compute", "none": "forecast"}[mode] for mode in modes(transformer)] == told


def test_equal_steps_share_a_program() -> None:
    """Few distinct programs: each is compiled once."""
    steps = table(PLANS["interval_polynomial"] | PLANS["pooled"], steps=50)
    assert len({(step.caches, step.cells) for step in steps}) == 2
