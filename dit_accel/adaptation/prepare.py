"""An adaptation checked against its model's files: whatever can be refused is refused here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dit_accel.adaptation.batch_grids import BatchGrids
from dit_accel.adaptation.config import AdaptationConfig
from dit_accel.adaptation.data_config import TrajectoriesConfig
from dit_accel.adaptation.starting_point import is_calibrated
from dit_accel.backbones import find_backbone
from dit_accel.errors import DitAccelError, PlanError, mismatch
from dit_accel.measure.architectures import load_architecture
from dit_accel.methods.cell import NOTHING
from dit_accel.plan import Plan
from dit_accel.program import StepProgram, step_table
from dit_accel.sampling.preparing import PreparedSampling, prepare_sampling
from dit_accel.sampling.sample_config import DataConfig, SampleConfig
from dit_accel.tokens.grid import Grid

# Away from the seeds that people evaluate with: nothing may be trained on their noise.
FIRST_SEED = 1 << 40


@dataclass(frozen=True)
class PreparedAdaptation:
    """An adaptation that can begin: nothing has been loaded yet.

    Attributes:
        config: as it was read.
        plan: that is trained: without its caches, its exact rewrites and a former adapter.
        sampling: of the teacher's trajectories, or of previews.
        steps: of the run that are trained.
        grids: that batches run on.
        native: pixels `(height, width)` of the model.
    """

    config: AdaptationConfig
    plan: Plan
    sampling: PreparedSampling
    steps: tuple[int, ...]
    grids: BatchGrids
    native: tuple[int, int]

    @property
    def conditions(self) -> list[int | str]:
        """The class or text of every sample of `sampling`."""
        return [
            spec.class_label if spec.class_label is not None else spec.prompt or ""
            for spec in self.sampling.specs
        ]


def prepare(config: AdaptationConfig) -> PreparedAdaptation:
    """Check a config.

    Raises:
        DitAccelError: whatever would fail later, without a model having been loaded.
    """
    plan = training_plan(Plan.load(config.plan))
    if config.loop.steps == 0 and not (config.calibrate and is_calibrated(plan)):
        expected = "steps to train, because this config calibrates nothing"
        remedy = "raise it, or calibrate a plan with density sparse, form delta"
        raise DitAccelError("loop.steps: " + mismatch(0, expected, remedy))
    architecture = load_architecture(config.model)
    sampling = prepare_sampling(_sampling(config, plan, architecture.is_text_conditional))
    latents = architecture.latent_size(None, None)
    transformer = architecture.build("meta")
    backbone = find_backbone(transformer)
    shape = (1, transformer.config.in_channels, *latents)
    grid = backbone.grid(transformer, torch.empty(shape, device="meta"))
    num_layers = len(backbone.blocks(transformer))
    table = step_table(plan, num_layers, config.run.num_inference_steps, grid)
    cell = architecture.pixels_per_cell
    return PreparedAdaptation(
        config,
        plan,
        sampling,
        steps=trained_steps(table, grid),
        grids=BatchGrids.of(config, plan, table, grid),
        native=(latents[0] * cell, latents[1] * cell),
    )


def training_plan(plan: Plan) -> Plan:
    """What of a plan is trained: what one forward does by itself.

    Raises:
        PlanError: nothing is left.
    """
    alone = {"cache": (), "exact": False, "adapter": None, "calibration": None}
    left = plan.model_copy(update=alone)
    if left.is_empty:
        raise PlanError(
            "a plan that leaves every forward as it is has nothing to adapt to (caches and exact"
            " rewrites are left out in training); give it density, merge or attention",
            source="plan",
        )
    return left


def trained_steps(table: Sequence[StepProgram], grid: Grid) -> tuple[int, ...]:
    """Steps that are drawn: those where the plan does anything; the others stay the teacher's.

    Raises:
        PlanError: there are none.
    """
    acting = [
        step for step, program in enumerate(table) if any(cell != NOTHING for cell in program.cells)
    ]
    if not acting:
        raise PlanError(
            f"it does nothing on this model's {grid} tokens in a run of {len(table)} steps, so that"
            " there is nothing to train; correct its layers, steps or grid",
            source="plan",
        )
    return tuple(acting)


def _sampling(config: AdaptationConfig, plan: Plan, reads_texts: bool) -> SampleConfig:
    run, data = config.run, config.data
    if isinstance(data, TrajectoriesConfig):
        given: dict[str, Any] = {"labels": data.labels, "prompts": data.prompts}
        count, size = data.samples, data.batch_size
        if reads_texts and data.prompts is None:
            raise DitAccelError(
                f"data.prompts: missing; {config.model} reads texts, give some like those it will"
                " be used with: a list, a file with one a line, or photos"
            )
    else:
        # Of pictures it is known later what they show; the rest is checked all the same.
        given, count, size = {"prompts": ("a picture",)} if reads_texts else {}, 1, 1
    given = {key: value for key, value in given.items() if value is not None}
    return SampleConfig(
        model=config.model,
        plan=plan.to_dict(),
        scheduler=run.scheduler,
        num_inference_steps=run.num_inference_steps,
        guidance_scale=run.guidance_scale,
        num_samples=count,
        seed=FIRST_SEED + (config.seed << 32),
        batch_size=size,
        dtype=config.dtype,
        data=DataConfig(**(given or {"labels": "uniform"})),
    )
