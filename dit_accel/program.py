"""The static part of a plan, resolved: what every layer does at a step.

Whatever depends on (plan, layer, step) alone is settled here, before the denoising loop; this table
is what `explain` prints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from dit_accel.errors import PlanError, UnsupportedError
from dit_accel.methods.cache import CacheAction, CacheConfig
from dit_accel.methods.cell import NOTHING, Cell, MergeMethod, Operators
from dit_accel.plan import Plan
from dit_accel.run_state import Position
from dit_accel.tokens.grid import Grid


@dataclass(frozen=True)
class StepProgram:
    """One step of a run.

    Attributes:
        cache: whether the step is computed, forecast, or decided sample by sample while it runs.
        cells: the operators of each layer.
    """

    cache: CacheAction
    cells: tuple[Operators, ...]

    @property
    def density_grid(self) -> Grid | None:
        """The coarse grid of this step, if any: what a cache tags its snapshots with."""
        grids = (cell.density.grid for cell in self.cells if cell.density is not None)
        return next(grids, None)


def resolve_cell(plan: Plan, cell: Cell) -> Operators:
    """The operators of one cell; attention is asked about the grid that density leaves it."""
    density = _operator(plan.density, cell)
    inner = cell if density is None else _with_grid(cell, density.grid)
    merge_method = merge_of(plan)
    merge = _operator(merge_method, cell)
    if density is not None and merge is not None:
        raise PlanError(
            f"density and merge both remove tokens in layer {cell.layer} at step {cell.step};"
            " expected at most one of them in a cell: set `layers` or `steps` of both apart"
        )
    at = () if merge_method is None else merge_method.at
    operators = Operators(
        density=density,
        merge_attention=merge if "attention" in at else None,
        attention=_operator(plan.attention, inner),
        merge_feed_forward=merge if "feed_forward" in at else None,
    )
    return NOTHING if operators == NOTHING else operators


def resolve_layers(
    plan: Plan, num_layers: int, position: Position, grid: Grid
) -> tuple[Operators, ...]:
    """The operators of all layers at one step."""
    return tuple(
        resolve_cell(plan, cell_at(layer, num_layers, position, grid))
        for layer in range(num_layers)
    )


def cell_at(layer: int, num_layers: int, position: Position, grid: Grid) -> Cell:
    """The cell of `layer` at `position` on the full token grid."""
    return Cell(layer, num_layers, position.step, position.num_steps, position.fraction, grid)


def step_table(plan: Plan, num_layers: int, num_steps: int, grid: Grid) -> list[StepProgram]:
    """The program of every step of a run of known length."""
    table, last = [], None
    for step in range(num_steps):
        position = Position(step, num_steps, 0, step / max(1, num_steps - 1), 0)
        action = cache_action(plan, position, last)
        if action == "compute":
            last = step
        table.append(StepProgram(action, resolve_layers(plan, num_layers, position, grid)))
    return table


def cache_action(plan: Plan, position: Position, last_computed: int | None) -> CacheAction:
    """What the cache policy says of a step, given the last one that was computed."""
    cache = cache_of(plan)
    if cache is None:
        return "compute"
    return cache.action(position.step, last_computed, position.fraction, position.num_steps)


def check_depth(plan: Plan, num_layers: int) -> None:
    """Refuse a cache that would leave no block to be cached.

    Raises:
        UnsupportedError: a policy that always computes the first block of a model with one block.
    """
    cache = cache_of(plan)
    if cache is not None and cache.per_sample and num_layers < 2:
        raise UnsupportedError(
            "cache.policy: it computes the first block always, and this model has"
            f" {num_layers} block(s); expected at least 2, or use policy interval"
        )


def cache_of(plan: Plan) -> CacheConfig | None:
    """The plan's cache policy."""
    return cast("CacheConfig | None", plan.cache)


def merge_of(plan: Plan) -> MergeMethod | None:
    """The plan's merge method."""
    return cast("MergeMethod | None", plan.merge)


def _operator(method: Any, cell: Cell) -> Any:
    return None if method is None else method.operator(cell)


def _with_grid(cell: Cell, grid: Grid) -> Cell:
    return Cell(cell.layer, cell.num_layers, cell.step, cell.num_steps, cell.fraction, grid)
