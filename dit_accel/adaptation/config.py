"""What `dit-accel train CONFIG` may say, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from dit_accel.adaptation.data_config import AnyData, TrajectoriesConfig, read_data
from dit_accel.configuration.overrides import read_config
from dit_accel.configuration.strict_model import StrictModel
from dit_accel.sampling.solvers import SolverName
from dit_accel.training.config import LoopConfig

Trains = Literal["new", "new+norm", "lora", "all"]
Share = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]


class RunConfig(StrictModel):
    """The runs that the plan will be used in.

    Args:
        scheduler: solver of the trajectories and of the previews.
        num_inference_steps: steps over which the plan's schedule goes.
        guidance_scale: of the trajectories and of the previews.
    """

    scheduler: SolverName = "DDIM"
    num_inference_steps: Positive = 20
    guidance_scale: Weight = 4.0


class ObjectiveConfig(StrictModel):
    """What is minimised: `distillation * D + denoising * L + features * F`.

    Args:
        distillation: weight of the squared difference of the outputs to the teacher's.
        denoising: weight of the plain loss on pictures.
        features: weight of the squared difference after each block, in units of the teacher's
            deviation in that channel.
        weighting: of the timesteps in both losses of outputs.
        gamma: of `min_snr`.
    """

    distillation: Weight = 1.0
    denoising: Weight = 0.0
    features: Weight = 0.0
    weighting: Literal["uniform", "min_snr"] = "uniform"
    gamma: Annotated[float, Field(gt=0)] = 5.0

    @model_validator(mode="after")
    def _something(self) -> ObjectiveConfig:
        if self.distillation == self.denoising == self.features == 0:
            raise ValueError("expected a weight above 0; write for instance distillation: 1.0")
        return self


class LoraConfig(StrictModel):
    """Low-rank changes of linear layers, with `train: lora`.

    Args:
        rank: of each.
        layers: ends of the names of the layers.
    """

    rank: Positive = 16
    layers: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "attn1.to_q",
        "attn1.to_k",
        "attn1.to_v",
        "attn1.to_out.0",
        "ff.net.0.proj",
        "ff.net.2",
    )


class EmaConfig(StrictModel):
    """The running average of what trains, which becomes the adapter.

    Args:
        decay: at most.
        power: the average's memory grows as `step ** power`.
    """

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    power: Annotated[float, Field(gt=0)] = 0.75


class AdaptationLoop(LoopConfig):
    """One optimisation run; every interval is counted in optimiser steps.

    Args:
        steps: 0 for no more than what `calibrate` does.
        accumulation: batches a step.
    """

    steps: int = Field(ge=0)
    learning_rate: float = Field(default=1e-4, gt=0)
    warmup_steps: int = Field(default=100, ge=0)
    decay_steps: int = Field(default=0, ge=0)
    log_every: int = Field(default=20, gt=0)
    checkpoint_every: int = Field(default=200, gt=0)
    preview_every: int = Field(default=500, gt=0)
    accumulation: Positive = 1


class AdaptationConfig(StrictModel):
    """One adaptation.

    Args:
        model: shipped name or folder of a diffusers pipeline; the teacher is the same, dense.
        plan: preset, YAML path, or a plan written out. Its caches and exact rewrites are left out
            in training.
        output: the run's folder; the adapter comes to lie in `OUTPUT/adapter`.
        train: the plan's `new` parts; these and the norms' modulations (`new+norm`); these and
            low-rank changes (`lora`); everything (`all`).
        freeze: parts of the names of parameters that never train, such as `.emb.`.
        calibrate: whether the learned parts of density sparse, form delta, start from their
            closed-form fit to the teacher.
        dtype: of everything but the transformer, which is float32.
        adapter_dtype: of the numbers in the file.
        condition_dropout: share trained without a condition.
        other_grids: share of the batches that run on another grid of the plan's density, so that
            other schedules do as well.
        batch_size: samples a batch, over all processes together.
        held_out: samples that are never trained on, for the score.
        previews: pictures of the teacher and of the student in each grid; 0 for none.
        mixed_precision: `null` for accelerate's own configuration.
        trackers: of accelerate, such as tensorboard.
        seed: of everything drawn.
    """

    model: str
    plan: Any
    output: str
    train: Trains = "new"
    freeze: tuple[str, ...] = ()
    calibrate: bool = True
    run: Annotated[RunConfig, Field(default_factory=RunConfig)]
    data: Annotated[AnyData, BeforeValidator(read_data)] = TrajectoriesConfig()
    objective: Annotated[ObjectiveConfig, Field(default_factory=ObjectiveConfig)]
    lora: Annotated[LoraConfig, Field(default_factory=LoraConfig)]
    loop: AdaptationLoop
    ema: Annotated[EmaConfig, Field(default_factory=EmaConfig)]
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    adapter_dtype: Literal["float32", "bfloat16", "float16"] = "float16"
    condition_dropout: Share = 0.1
    other_grids: Share = 0.2
    batch_size: Positive = 16
    held_out: Positive = 16
    previews: Annotated[int, Field(ge=0)] = 4
    gradient_checkpointing: bool = False
    mixed_precision: Literal["no", "bf16", "fp16"] | None = None
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    seed: Annotated[int, Field(ge=0, lt=2**20)] = 0

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.output).expanduser()

    @model_validator(mode="after")
    def _consistent(self) -> AdaptationConfig:
        if self.train == "lora" and self.loop.muon_ratio is not None:
            raise ValueError(
                "loop.muon_ratio: Muon is for whole matrices, expected null with train: lora;"
                " remove it"
            )
        if not isinstance(self.data, TrajectoriesConfig):
            return self
        if self.objective.denoising:
            raise ValueError(
                "objective.denoising: trajectories hold no clean pictures, expected 0 with them;"
                " give pictures (data: {kind: folder, folder: …}), or distil alone"
            )
        unguided = self.run.guidance_scale <= 1 and not self.objective.features
        if self.condition_dropout and unguided:  # else the teacher is asked anyway
            raise ValueError(
                "condition_dropout: trajectories without guidance hold no unconditional outputs,"
                " expected 0 with run.guidance_scale of 1 or less; set it to 0, or raise the scale"
            )
        if self.data.samples <= self.held_out:
            raise ValueError(
                f"data.samples: got {self.data.samples} and held_out {self.held_out}, expected"
                " more samples than are held out; raise data.samples"
            )
        return self


def load_config(path: str | Path, assignments: Sequence[str] = ()) -> AdaptationConfig:
    """Read a config and apply ``--set`` assignments.

    Raises:
        PlanError: with the field's path, the value, what was expected and the remedy.
    """
    return read_config(AdaptationConfig, path, assignments)
