"""What a whole run costs under a plan, counted by dispatch on the meta device."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

import dit_accel
from dit_accel.backbones import find_backbone
from dit_accel.install import installation_of
from dit_accel.measure.architectures import Architecture
from dit_accel.measure.inputs import DEFAULT_TEXT_TOKENS, forward_inputs
from dit_accel.measure.macs import count_macs
from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.placement import forecast_layers, layers_of, place
from dit_accel.plan import Plan
from dit_accel.program import StepProgram, step_table


@dataclass(frozen=True)
class Workload:
    """One run of one batch.

    Attributes:
        num_steps: transformer evaluations a sample and guidance row.
        batch: images.
        guided: whether every image has a second, unconditional row.
        latent_size: height and width of the latent in cells; the model's own by default.
        text_tokens: text tokens a row, for text-conditional models.
    """

    num_steps: int
    batch: int = 1
    guided: bool = True
    latent_size: tuple[int, int] | None = None
    text_tokens: int = DEFAULT_TEXT_TOKENS

    @property
    def rows(self) -> int:
        """Rows of one forward, guidance rows included."""
        return self.batch * (2 if self.guided else 1)


@dataclass(frozen=True)
class StepCost:
    """One step of the run: its program, and MACs of all rows.

    ``macs`` is what is computed at most; a cache that decides while it runs may come down to
    ``macs_lower``. Without such a cache the two are equal.
    """

    program: StepProgram
    macs: int
    macs_lower: int


@dataclass(frozen=True)
class RunCost:
    """MACs of a whole run, guidance rows included."""

    macs_per_forward_dense: int
    macs_dense: int
    steps: tuple[StepCost, ...]
    data_dependent: bool

    @property
    def macs_plan(self) -> int:
        """MACs under the plan; the most they can be where decisions depend on the data."""
        return sum(step.macs for step in self.steps)

    @property
    def macs_plan_lower(self) -> int:
        """The least they can be."""
        return sum(step.macs_lower for step in self.steps)


def run_cost(architecture: Architecture, plan: Plan, workload: Workload) -> RunCost:
    """Count a run under ``plan`` beside a dense one; no weights, no arithmetic.

    Only distinct step programs are run, and each once, on a meta copy with the plan installed.

    Raises:
        PlanError: the plan does not fit this model or this number of steps.
        UnsupportedError: a latent size that the model cannot take.
    """
    transformer = architecture.build("meta")
    if plan.calibration is not None:
        plan.calibration.check_model(transformer)
        plan.calibration.check_run(num_steps=workload.num_steps)
    one_row = forward_inputs(transformer, 1, workload.latent_size, workload.text_tokens)
    programs = _programs(transformer, plan, workload, one_row)
    # At most one decides by the data; a plan refuses more.
    deciding = next((cache for cache in plan.cache if cache.per_sample), None)
    num_layers = len(find_backbone(transformer).blocks(transformer))
    layers = _OpenLayers.of(deciding, num_layers)
    dense = _count_forward(transformer, one_row, layers)
    others = tuple(cache for cache in plan.cache if not cache.per_sample)
    # Counted as it stands: whether a run has guidance is not always known here.
    static = plan.model_copy(update={"cache": others, "calibration": None})
    if static.is_empty:
        costs = [dense.times(workload.rows)] * workload.num_steps
    else:
        keys = _program_keys(plan, programs)
        costs = _static_costs(transformer, static, workload, programs, keys, layers)
    decides = [_decides(plan, program) for program in programs]
    steps = tuple(
        StepCost(program, *(cost.bounds if open_ else (cost.total, cost.total)))
        for program, cost, open_ in zip(programs, costs, decides, strict=True)
    )
    macs_dense = dense.total * workload.rows * workload.num_steps
    return RunCost(dense.total, macs_dense, steps, deciding is not None)


def _programs(
    transformer: nn.Module, plan: Plan, workload: Workload, inputs: dict[str, Any]
) -> list[StepProgram]:
    backbone = find_backbone(transformer)
    num_layers = len(backbone.blocks(transformer))
    plan.check_against(num_layers, workload.num_steps)
    grid = backbone.grid(transformer, inputs["hidden_states"])
    return step_table(plan, num_layers, workload.num_steps, grid)


@dataclass(frozen=True)
class _OpenLayers:
    """Blocks of which a policy decides by the data.

    Attributes:
        undecided: those that are run or not.
        verifying: those that are run to decide, and again where all are computed.
    """

    undecided: frozenset[int] = frozenset()
    verifying: frozenset[int] = frozenset()

    @classmethod
    def of(cls, deciding: CacheConfig | None, num_layers: int) -> _OpenLayers:
        """Those of a cache; none without one."""
        if deciding is None:
            return cls()
        (spans,) = place([deciding], num_layers)
        undecided = forecast_layers(deciding, spans)
        return cls(undecided, frozenset(layers_of(spans)) - undecided)


def _decides(plan: Plan, program: StepProgram) -> bool:
    """Whether this step is settled while it runs; at the ends of a run a policy may know."""
    pairs = zip(plan.cache, program.caches, strict=True)
    return any(cache.per_sample and action == "decide" for cache, action in pairs)


@dataclass(frozen=True)
class _Forward:
    """MACs of one forward, and of those of its blocks that `_OpenLayers` names."""

    total: int
    undecided: int
    verifying: int

    def times(self, rows: int) -> _Forward:
        """The same forward on so many times the rows; without a plan nothing is shared by rows."""
        return _Forward(self.total * rows, self.undecided * rows, self.verifying * rows)

    @property
    def bounds(self) -> tuple[int, int]:
        """The most and the least of a step that decides."""
        return self.total + self.verifying, self.total - self.undecided


@torch.no_grad()
def _static_costs(
    transformer: nn.Module,
    plan: Plan,
    workload: Workload,
    programs: list[StepProgram],
    keys: list[Hashable],
    layers: _OpenLayers,
) -> list[_Forward]:
    """Cost of each step; those of equal keys are run once."""
    inputs = forward_inputs(transformer, workload.rows, workload.latent_size, workload.text_tokens)
    costs: dict[Hashable, _Forward] = {}
    dit_accel.accelerate(transformer, plan)
    installation = installation_of(transformer)
    with dit_accel.run(transformer, workload.num_steps, guidance=workload.guided):
        for step, (key, program) in enumerate(zip(keys, programs, strict=True)):
            if key not in costs:
                costs[key] = _count_forward(transformer, inputs, layers)
            elif not any(later not in costs for later in keys[step:]):
                break
            elif "compute" in program.caches:
                transformer(**inputs)  # what it leaves in the cache decides the steps to come
            elif installation is not None:
                installation.clock.tick(lambda: 0.0)
    dit_accel.restore(transformer)
    return [costs[key] for key in keys]


def _program_keys(plan: Plan, programs: list[StepProgram]) -> list[Hashable]:
    """Equal where the cost is: a matching kept over steps is only paid for in some of them.

    The first step of all rows, and the first of the conditional rows alone, are not like others
    where exact rewrites keep what it computes (text keys): either has a memory of its own.
    """
    kept = getattr(plan.merge, "reuse_steps", 1) > 1
    rows_left_out = [cache.site.is_guidance for cache in plan.cache]
    keys: list[Hashable] = []
    seen: set[bool] = set()
    for step, program in enumerate(programs):
        caches = tuple(action == "forecast" for action in program.caches)
        layers = tuple(action == "forecast" for action in program.layers)
        alone = any(a and b for a, b in zip(rows_left_out, caches, strict=True))
        first = bool(plan.exact) and alone not in seen
        seen.add(alone)
        matching = step if kept else None
        keys.append((caches, layers, program.modules, program.cells, matching, first))
    return keys


def _count_forward(transformer: nn.Module, inputs: dict[str, Any], layers: _OpenLayers) -> _Forward:
    with count_macs() as counter:
        transformer(**inputs)
    undecided, verifying = (
        sum(counter.module(f"transformer_blocks.{layer}") for layer in named)
        for named in (layers.undecided, layers.verifying)
    )
    return _Forward(counter.total, undecided, verifying)
