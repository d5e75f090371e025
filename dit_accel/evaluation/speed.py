"""What the runs of an evaluation cost: seconds, memory and MACs of the same batch, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from dit_accel.measure.architectures import load_architecture
from dit_accel.measure.memory import PeakMemory, peak_memory
from dit_accel.measure.plan_macs import RunCost, Workload, run_cost
from dit_accel.measure.provenance import provenance
from dit_accel.measure.timing import Timing, interleaved
from dit_accel.sampling.batch import ImageBatch, encode_text
from dit_accel.sampling.loading import load_pipeline
from dit_accel.sampling.preparing import PreparedSampling
from dit_accel.sampling.variants import Variant, pipeline_variant


@dataclass(frozen=True)
class Speed:
    """The denoising loop of one run, for one batch."""

    timing: Timing
    memory: PeakMemory
    cost: RunCost


def measure_speed(
    runs: Mapping[str, PreparedSampling],
    *,
    rounds: int,
    images: int,
    device: torch.device,
    advance: Callable[[str], None] = lambda name: None,
) -> dict[str, Speed]:
    """Time all runs interleaved in this process, on the first ``images`` of their common set.

    Seconds while sampling say little about a run: the disk, the other ranks and the neighbours of
    a machine are in them. Here every round times each run once, after a warm-up.

    Args:
        runs: by name; all of one model, dtype and data.
        rounds: measured rounds.
        images: of the batch.
        device: where to run.
        advance: told what has just finished, ``(rounds + 1) * len(runs)`` times.
    """
    variants = _variants(runs, images, device)
    memory = {}
    for name, variant in variants.items():
        memory[name] = peak_memory(variant.denoise, device)
        advance(f"warm-up, {name}")
    calls = {name: variant.denoise for name, variant in variants.items()}
    timings = interleaved(calls, rounds, device, advance)
    return {name: Speed(timings[name], memory[name], _cost(runs[name], images)) for name in runs}


def _variants(
    runs: Mapping[str, PreparedSampling], images: int, device: torch.device
) -> dict[str, Variant]:
    first = next(iter(runs.values()))
    batch = _first_images(first, images)
    pipe = load_pipeline(first.config.model, first.config.dtype, device)
    conditions = encode_text(pipe, batch)
    return {
        name: Variant(
            pipeline_variant(pipe, run.config.scheduler, run.plan),
            batch,
            conditions,
            run.config.num_inference_steps,
        )
        for name, run in runs.items()
    }


def _first_images(run: PreparedSampling, images: int) -> ImageBatch:
    specs = [run.specs[index] for index in range(min(images, len(run.specs)))]
    seeds = tuple(spec.seed for spec in specs)
    labels = tuple(spec.class_label for spec in specs if spec.class_label is not None)
    prompts = tuple(spec.prompt for spec in specs if spec.prompt is not None)
    return ImageBatch(seeds, run.config.guidance_scale, labels or None, prompts or None)


def _cost(run: PreparedSampling, images: int) -> RunCost:
    architecture = load_architecture(run.folder)
    workload = Workload(
        num_steps=run.config.num_inference_steps,
        batch=min(images, len(run.specs)),
        guided=run.config.guidance_scale > 1,
        text_tokens=architecture.default_text_tokens,
    )
    return run_cost(architecture, run.plan, workload)


def speed_document(
    speeds: Mapping[str, Speed], images: int, device: torch.device
) -> dict[str, Any]:
    """JSON-serialisable form, per run, of what `measure_speed` found."""
    return {
        "latency": {
            name: {**speed.timing.to_dict(), "images": images} for name, speed in speeds.items()
        },
        "macs": {
            name: {"lower": speed.cost.macs_plan_lower, "upper": speed.cost.macs_plan}
            for name, speed in speeds.items()
        },
        "memory": {name: speed.memory.to_dict() for name, speed in speeds.items()},
        "provenance": provenance(device=str(device), batch=images),
    }
