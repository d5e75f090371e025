"""What a benchmark is asked for, and all that can be checked before any weights are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dit_accel.measure.architectures import Architecture, load_architecture
from dit_accel.measure.candidates import Base, Candidate, candidates
from dit_accel.measure.plan_macs import RunCost, Workload, run_cost
from dit_accel.measure.ranks import rank
from dit_accel.plan import Plan
from dit_accel.sampling.batch import ImageBatch
from dit_accel.sampling.conditions.prompts import prompt_conditions
from dit_accel.sampling.loading import pipeline_folder, pipeline_labels

PROMPTS = "photos"


@dataclass(frozen=True)
class BenchSettings:
    """What is measured, and how."""

    model: str
    plans: Mapping[str, Plan]
    bases: tuple[Base, ...]
    guidance_scale: float
    num_images: int
    rounds: int
    dtype: str
    device: str
    compiled: bool
    seed: int
    random_weights: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form."""
        plain = {key: value for key, value in vars(self).items() if key not in ("plans", "bases")}
        return {
            **plain,
            "plans": {name: plan.to_dict() for name, plan in self.plans.items()},
            "bases": [str(base) for base in self.bases],
        }


@dataclass(frozen=True)
class PreparedBench:
    """What could be checked and counted before any weights were loaded."""

    settings: BenchSettings
    architecture: Architecture
    candidates: list[Candidate]
    costs: dict[str, RunCost]

    @property
    def total_runs(self) -> int:
        """Runs of the denoising loop: warm-up, the converged run, and all rounds."""
        converged = 0 if self.settings.random_weights else 1
        return len(self.candidates) * (1 + self.settings.rounds) + converged


def prepare_benchmark(settings: BenchSettings) -> PreparedBench:
    """Resolve the model, check and count every candidate.

    Raises:
        DitAccelError: a model or plan that cannot be run.
    """
    source = settings.model if settings.random_weights else pipeline_folder(settings.model)
    architecture = load_architecture(source)
    rows = candidates(settings.bases, settings.plans, with_rivals=not settings.random_weights)
    return PreparedBench(settings, architecture, rows, _costs(architecture, rows, settings))


def _costs(
    architecture: Architecture, rows: list[Candidate], settings: BenchSettings
) -> dict[str, RunCost]:
    """Costs by candidate; the solver has no part in them, so that equal ones are counted once."""
    known: dict[tuple[str, int], RunCost] = {}
    costs: dict[str, RunCost] = {}
    for row in rows:
        workload = Workload(
            num_steps=row.run.num_inference_steps,
            batch=settings.num_images,
            guided=settings.guidance_scale > 1,
            text_tokens=architecture.default_text_tokens,
        )
        key = (row.plan.fingerprint, workload.num_steps)
        if key not in known:
            known[key] = run_cost(architecture, row.plan, workload)
        costs[row.name] = known[key]
    return costs


def bench_batch(settings: BenchSettings, architecture: Architecture) -> ImageBatch:
    """Conditions and seeds of one batch; every rank has another stretch of seeds.

    Classes are taken in turn, or the shipped prompts (captions of real photographs).
    """
    count = settings.num_images
    first = settings.seed + rank() * count
    seeds = tuple(range(first, first + count))
    if architecture.is_text_conditional:
        prompts = tuple(map(str, prompt_conditions(PROMPTS, count).items))
        return ImageBatch(seeds, settings.guidance_scale, prompts=prompts)
    labels = sorted(set(pipeline_labels(pipeline_folder(settings.model)).values()))
    labels = labels or list(range(architecture.num_classes))
    classes = tuple(labels[index % len(labels)] for index in range(count))
    return ImageBatch(seeds, settings.guidance_scale, class_labels=classes)
