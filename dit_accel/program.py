"""The static part of a plan, resolved: what every layer does at a step.

Whatever depends on (plan, layer, step) alone is settled here, before the denoising loop; this table
is what `explain` prints.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from dit_accel.errors import PlanError
from dit_accel.methods.caching.module_steps import forecast_steps, module_labels
from dit_accel.methods.caching.placement import forecast_layers, parts_of, place
from dit_accel.methods.caching.policies.policy import CacheAction
from dit_accel.methods.cell import NOTHING, Cell, MergeMethod, Operators
from dit_accel.plan import Plan
from dit_accel.run_state import Position
from dit_accel.tokens.grid import Grid


@dataclass(frozen=True)
class StepProgram:
    """One step of a run.

    Attributes:
        caches: for each cache of the plan, whether its site is computed, forecast, or decided
            sample by sample while the step runs.
        layers: the same for each layer; a layer that no cache remembers is computed.
        cells: the operators of each layer.
        modules: what caches inside the blocks leave out in each layer, in words.
    """

    caches: tuple[CacheAction, ...]
    layers: tuple[CacheAction, ...]
    cells: tuple[Operators, ...]
    modules: tuple[tuple[str, ...], ...]

    @property
    def runs_blocks(self) -> bool:
        """Whether any block runs, or may run."""
        return any(action != "forecast" for action in self.layers)


def density_grid(cells: tuple[Operators, ...]) -> Grid | None:
    """The coarse grid of a step, if any: what a cache tags its snapshots with."""
    grids = (cell.density.grid for cell in cells if cell.density is not None)
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
    if operators.hands_tokens:
        operators = replace(operators, attention=None)
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
    placed = place(plan.cache, num_layers)
    positions = [_position(step, num_steps) for step in range(num_steps)]
    inside = [cache for cache in plan.cache if cache.site.modules]
    labels = [module_labels(cache, num_layers, positions, grid.size) for cache in inside]
    left_out = _left_out(plan, num_layers, positions)
    table = []
    for step, actions in enumerate(action_table(plan, num_steps)):
        layers: list[CacheAction] = ["compute"] * num_layers
        for cache, spans, action in zip(plan.cache, placed, actions, strict=True):
            for layer in forecast_layers(cache, spans) if spans else ():
                layers[layer] = "decide" if action == "decide" else "compute"
        for layer in left_out[step]:
            layers[layer] = "forecast"
        cells = resolve_layers(plan, num_layers, positions[step], grid)
        modules = tuple(
            tuple(of[step][layer] for of in labels if layer in of[step])
            for layer in range(num_layers)
        )
        table.append(StepProgram(actions, tuple(layers), cells, modules))
    return table


def action_table(plan: Plan, num_steps: int) -> list[tuple[CacheAction, ...]]:
    """What each cache's policy says of every step of a run."""
    last: list[int | None] = [None] * len(plan.cache)
    table = []
    for step in range(num_steps):
        fraction = _position(step, num_steps).fraction
        actions = tuple(
            cache.policy.action(step, before, fraction, num_steps)
            for cache, before in zip(plan.cache, last, strict=True)
        )
        last = [
            step if action == "compute" else before
            for action, before in zip(actions, last, strict=True)
        ]
        table.append(actions)
    return table


def steps_with_blocks(plan: Plan, num_layers: int, num_steps: int) -> tuple[bool, ...]:
    """For each step of a run, whether any block runs, or may run."""
    positions = [_position(step, num_steps) for step in range(num_steps)]
    absent = _left_out(plan, num_layers, positions)
    return tuple(len(layers) < num_layers for layers in absent)


def _left_out(plan: Plan, num_layers: int, positions: list[Position]) -> list[set[int]]:
    """For each step, the blocks that are known to be forecast."""
    found: list[set[int]] = [set() for _ in positions]
    for cache, spans in zip(plan.cache, place(plan.cache, num_layers), strict=True):
        if cache.site.is_output:
            for at, _ in forecast_steps(cache.policy, positions):
                found[at.step] |= set(range(num_layers))
        for part, of_part in parts_of(cache, spans) if spans else ():
            for at, _ in forecast_steps(part.policy, positions):
                found[at.step] |= forecast_layers(part, of_part)
    return found


def _position(step: int, num_steps: int) -> Position:
    return Position(step, num_steps, 0, step / max(1, num_steps - 1), 0)


def merge_of(plan: Plan) -> MergeMethod | None:
    """The plan's merge method."""
    return cast("MergeMethod | None", plan.merge)


def _operator(method: Any, cell: Cell) -> Any:
    return None if method is None else method.operator(cell)


def _with_grid(cell: Cell, grid: Grid) -> Cell:
    return Cell(cell.layer, cell.num_layers, cell.step, cell.num_steps, cell.fraction, grid)
