"""Dense beside a plan beside dense with fewer steps: the main job of ``dit-accel generate``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dit_accel.measure.architectures import Architecture, load_architecture
from dit_accel.measure.fidelity import Fidelity, fidelity
from dit_accel.measure.macs import count_macs
from dit_accel.measure.plan_macs import RunCost, Workload, run_cost
from dit_accel.measure.provenance import provenance
from dit_accel.measure.timing import Timing, interleaved, timed
from dit_accel.plan import Plan
from dit_accel.sampling.batch import ImageBatch, decode, denoise, encode_text
from dit_accel.sampling.generate_config import GenerateConfig, image_batch
from dit_accel.sampling.identity import scheduler_config
from dit_accel.sampling.loading import (
    default_device,
    load_pipeline,
    pipeline_family,
    pipeline_folder,
    pipeline_labels,
)
from dit_accel.sampling.prompt_check import prompt_warnings
from dit_accel.sampling.solvers import make_scheduler
from dit_accel.sampling.variants import Variant, pipeline_variant

DENSE, PLAN, FEWER_STEPS = "dense", "plan", "fewer_steps"
_WARM_UP_STEPS = 2
_log: Callable[[str], None] = logging.getLogger(__name__).warning


@dataclass(frozen=True)
class Prepared:
    """Everything that can be checked and counted before a model is loaded."""

    config: GenerateConfig
    plan: Plan
    folder: Path
    batch: ImageBatch
    cost: RunCost

    @property
    def total_runs(self) -> int:
        """Runs of the denoising loop, the two of the warm-up included."""
        return 2 + 3 * self.config.rounds


@dataclass(frozen=True)
class Row:
    """One candidate: what it cost and how near it stays to dense."""

    name: str
    num_inference_steps: int
    macs: int
    timing: Timing
    decode_seconds: float
    images: torch.Tensor
    fidelity: Fidelity


@dataclass(frozen=True)
class Comparison:
    """The three candidates of one batch and one solver."""

    prepared: Prepared
    rows: dict[str, Row]
    text_encoder_seconds: float | None
    provenance: dict[str, Any]

    def speed_up(self, name: str) -> float:
        """Dense seconds of the loop divided by this candidate's."""
        return self.rows[DENSE].timing.median / self.rows[name].timing.median


def prepare(config: GenerateConfig) -> Prepared:
    """Check a config against its model's files and count its plan.

    Raises:
        DitAccelError: whatever would fail later, without anything having been loaded.
    """
    plan = Plan.load(config.plan)
    folder = pipeline_folder(config.model)
    pipeline_family(folder)
    architecture = load_architecture(folder)
    batch = image_batch(config, pipeline_labels(folder), architecture.num_classes)
    if plan.calibration is not None:
        scheduler = make_scheduler(config.scheduler, scheduler_config(folder))
        plan.calibration.check_run(scheduler, guidance_scale=config.guidance_scale)
    return Prepared(config, plan, folder, batch, _cost(architecture, plan, config))


def _cost(architecture: Architecture, plan: Plan, config: GenerateConfig) -> RunCost:
    workload = Workload(
        num_steps=config.num_inference_steps,
        batch=config.num_images,
        guided=config.guidance_scale > 1,
        text_tokens=architecture.default_text_tokens,
    )
    return run_cost(architecture, plan, workload)


def compare(
    prepared: Prepared,
    advance: Callable[[str], None] = lambda name: None,
    notify: Callable[[str], None] = _log,
) -> Comparison:
    """Load the model and run the three candidates, interleaved after a warm-up.

    Args:
        prepared: what ``prepare`` returned.
        advance: told the name of each finished run.
        notify: told, before the model is loaded, which words it does not know and what it cuts off.
    """
    config, batch = prepared.config, prepared.batch
    for line in prompt_warnings(prepared.folder, batch.prompts or ()):
        notify(line)
    device = default_device()
    pipe = load_pipeline(config.model, config.dtype, device)
    text_seconds, conditions = timed(lambda: encode_text(pipe, batch), device)
    dense = pipeline_variant(pipe, config.scheduler, Plan())
    accelerated = pipeline_variant(pipe, config.scheduler, prepared.plan)
    denoise(dense, batch, conditions, _WARM_UP_STEPS)
    advance("warm-up")
    steps = config.num_inference_steps
    planned = Variant(accelerated, batch, conditions, steps)
    macs_plan = _warm_up_macs(prepared, planned)
    advance("warm-up")
    fewer = steps_at_cost(prepared, macs_plan)
    variants = {
        DENSE: Variant(dense, batch, conditions, steps),
        PLAN: planned,
        FEWER_STEPS: Variant(dense, batch, conditions, fewer),
    }
    macs = {
        DENSE: prepared.cost.macs_dense,
        PLAN: macs_plan,
        FEWER_STEPS: prepared.cost.macs_dense * fewer // steps,
    }
    rows = _measure(variants, macs, config.rounds, device, advance)
    record = provenance(dtype=config.dtype, device=str(device), seeds=list(batch.seeds))
    return Comparison(prepared, rows, text_seconds if batch.prompts else None, record)


def steps_at_cost(prepared: Prepared, macs_plan: int) -> int:
    """Dense steps that cost about what the plan does, at least one."""
    steps = prepared.config.num_inference_steps
    return max(1, round(steps * macs_plan / prepared.cost.macs_dense))


def _warm_up_macs(prepared: Prepared, planned: Variant) -> int:
    """Run the plan once; where its decisions depend on the data, count what it really did."""
    if not prepared.cost.data_dependent:
        planned.denoise()
        return prepared.cost.macs_plan
    with count_macs() as counter:
        planned.denoise()
    return counter.total


def _measure(
    variants: dict[str, Variant],
    macs: dict[str, int],
    rounds: int,
    device: torch.device,
    advance: Callable[[str], None],
) -> dict[str, Row]:
    latents: dict[str, torch.Tensor] = {}

    def runner(name: str) -> Callable[[], None]:
        return lambda: latents.update({name: variants[name].denoise()})

    timings = interleaved({name: runner(name) for name in variants}, rounds, device, advance)
    decoded = {
        name: timed(partial(decode, variants[name].pipe, latents[name]), device)
        for name in variants
    }
    reference = decoded[DENSE][1]
    return {
        name: Row(
            name=name,
            num_inference_steps=variants[name].num_inference_steps,
            macs=macs[name],
            timing=timings[name],
            decode_seconds=seconds,
            images=images,
            fidelity=fidelity(images, reference),
        )
        for name, (seconds, images) in decoded.items()
    }
