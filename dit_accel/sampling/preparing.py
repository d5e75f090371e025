"""A config checked against its model's files: whatever can be refused is refused here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from dit_accel.adapters import load_adapter
from dit_accel.backbones import find_backbone
from dit_accel.errors import DitAccelError, did_you_mean, mismatch
from dit_accel.extractors.registry import check_extractor_name
from dit_accel.measure.architectures import Architecture, load_architecture
from dit_accel.measure.provenance import provenance
from dit_accel.methods.caching.placement import place
from dit_accel.plan import Plan
from dit_accel.program import step_table
from dit_accel.reference_models import available
from dit_accel.sampling.conditions import Conditions
from dit_accel.sampling.conditions.coco import coco_conditions
from dit_accel.sampling.conditions.labels import ClassNames, label_conditions
from dit_accel.sampling.conditions.prompts import prompt_conditions
from dit_accel.sampling.identity import identity_of, scheduler_config, weighty_components
from dit_accel.sampling.loading import pipeline_family, pipeline_folder, pipeline_labels
from dit_accel.sampling.sample_config import SampleConfig, derived_shard_size
from dit_accel.sampling.solvers import make_scheduler
from dit_accel.sampling.specs import Specs


@dataclass(frozen=True)
class PreparedSampling:
    """A set that can be made: nothing has been loaded yet, nothing is left to refuse.

    Attributes:
        config: as it was read, with ``num_samples`` filled in.
        plan: the resolved plan.
        folder: of the pipeline.
        specs: one an image.
        identity: what decides the pictures.
        environment: code, versions and machine that prepared it.
    """

    config: SampleConfig
    plan: Plan
    folder: Path
    specs: Specs
    identity: dict[str, Any]
    environment: dict[str, Any]

    @property
    def prompts(self) -> Sequence[str]:
        """The text of every image; nothing for a class-conditional model."""
        items: Sequence[Any] = self.specs.conditions.items
        return () if self.config.data.kind == "labels" else items

    @property
    def shard_size(self) -> int:
        """Images that a rank claims at a time."""
        config = self.config
        return config.shard_size or derived_shard_size(len(self.specs), config.batch_size)


def prepare_sampling(config: SampleConfig) -> PreparedSampling:
    """Check a config against its model's files, and work out every image's spec.

    Raises:
        DitAccelError: whatever would fail later, without a model having been loaded.
    """
    for name in config.statistics:
        check_extractor_name(name)
    folder = _folder(config.model)
    architecture = load_architecture(folder)
    plan = Plan.load(config.plan)
    conditions = resolve_conditions(config, folder, architecture)
    size = _latent_size(config, architecture)
    transformer = architecture.build("meta")
    scheduler = _checked_solver(config, folder, transformer)
    _check_plan(plan, config.num_inference_steps, transformer, size)
    if plan.calibration is not None:
        plan.calibration.check_model(transformer)
        plan.calibration.check_run(scheduler, guidance_scale=config.guidance_scale)
    if plan.adapter is not None:
        load_adapter(plan.adapter).check(transformer, plan)
    text_tokens = architecture.default_text_tokens if architecture.is_text_conditional else None
    pixels = (size[0] * architecture.pixels_per_cell, size[1] * architecture.pixels_per_cell)
    return PreparedSampling(
        config=config.model_copy(update={"num_samples": len(conditions.items)}),
        plan=plan,
        folder=folder,
        specs=Specs(conditions, config.seed),
        identity=identity_of(config, plan, folder, conditions, pixels, text_tokens),
        environment=provenance(dtype=config.dtype),
    )


def resolve_conditions(
    config: SampleConfig, folder: Path, architecture: Architecture
) -> Conditions:
    """The label or prompt of every image.

    Raises:
        DitAccelError: the wrong kind of condition for the model, or what the readers refuse.
    """
    data = config.data
    if (data.kind == "labels") != bool(architecture.num_classes):
        wanted = "labels" if architecture.num_classes else "prompts (or coco)"
        raise DitAccelError(
            f"data.{data.kind}: {config.model} is conditioned on {wanted}; give these instead"
        )
    if data.labels is not None:
        classes = ClassNames(architecture.num_classes, pipeline_labels(folder))
        return label_conditions(data.labels, classes, config.seed, config.num_samples)
    if data.prompts is not None:
        return prompt_conditions(data.prompts, config.num_samples)
    return coco_conditions(str(data.coco), data.ids, data.ids_sha256, config.num_samples)


def _folder(model: str) -> Path:
    if model not in available() and not Path(model).exists():
        expected = f"{', '.join(available())}, or a diffusers pipeline folder that exists"
        remedy = did_you_mean(model, available()) + "correct the name or the path"
        raise DitAccelError("model: " + mismatch(model, expected, remedy))
    folder = pipeline_folder(model)
    pipeline_family(folder)
    _check_files(folder)
    return folder


def _check_files(folder: Path) -> None:
    """Refuse half a download."""
    missing = [
        f"{name}/*.safetensors"
        for name in weighty_components(folder)
        if not any((folder / name).glob("*.safetensors"))
    ]
    if not (folder / "scheduler/scheduler_config.json").is_file():
        missing.append("scheduler/scheduler_config.json")
    if missing:
        remedy = "download the pipeline completely (weights as safetensors)"
        raise DitAccelError(f"model: {folder} has no {', no '.join(missing)}; {remedy}")


def _latent_size(config: SampleConfig, architecture: Architecture) -> tuple[int, int]:
    size = architecture.latent_size(config.height, config.width)
    if architecture.num_classes and size[0] != size[1]:
        pixels = [side * architecture.pixels_per_cell for side in size]
        remedy = f"use {pixels[0]} for both"
        raise DitAccelError("height, width: " + mismatch(pixels, "equal sides (DiT)", remedy))
    return size


def _checked_solver(config: SampleConfig, folder: Path, transformer: Any) -> Any:
    """Build the solver and its timesteps, as the pipeline will."""
    # By name: a wheel and a checkout keep the package at different places.
    denoising = import_module("dit_accel.pipelines.denoising")
    scheduler = make_scheduler(config.scheduler, scheduler_config(folder))
    steps, limit = config.num_inference_steps, scheduler.config.num_train_timesteps
    if steps > limit:
        expected = f"at most {limit}, the steps the model was trained with"
        raise DitAccelError("num_inference_steps: " + mismatch(steps, expected, "lower it"))
    try:
        denoising.uses_learned_variance(transformer, scheduler)
        scheduler.set_timesteps(steps)
    except (ValueError, NotImplementedError) as error:
        raise DitAccelError(
            f"scheduler: {config.scheduler} with {steps} steps does not suit {config.model} "
            f"({error}); choose another scheduler or number of steps"
        ) from None
    return scheduler


def _check_plan(plan: Plan, num_steps: int, transformer: Any, size: tuple[int, int]) -> None:
    """Settle every cell (step × layer) of the run, as the plan will."""
    backbone = find_backbone(transformer)
    num_layers = len(backbone.blocks(transformer))
    plan.check_against(num_layers, num_steps)
    place(plan.cache, num_layers)
    latents = torch.empty(1, transformer.config.in_channels, *size, device="meta")
    step_table(plan, num_layers, num_steps, backbone.grid(transformer, latents))
