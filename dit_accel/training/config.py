"""Typed training recipes: what ``configs/train/*.yaml`` may say, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from dit_accel.strict_model import StrictModel
from dit_accel.strict_yaml import read_mapping


class DataConfig(StrictModel):
    """Random square crops of the photographs."""

    crop_size: int = Field(gt=0, description="side of a crop after resampling, pixels")
    scale: tuple[float, float] = Field(description="crop side / short side of the photograph")
    held_out_per_class: int = Field(gt=0, description="fixed crops per class, for scoring only")


class LoopConfig(StrictModel):
    """One optimisation run; every interval is counted in optimiser steps."""

    steps: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(ge=0)
    decay_steps: int = Field(ge=0, description="length of the final linear decay to zero")
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(default=0.0, ge=0)
    muon_ratio: float | None = Field(
        default=None,
        gt=0,
        description="train linear layers by Muon, at this multiple of the learning rate",
    )
    max_grad_norm: float = Field(default=1.0, gt=0)
    log_every: int = Field(gt=0)
    checkpoint_every: int = Field(gt=0)
    preview_every: int = Field(gt=0)


class AutoencoderConfig(StrictModel):
    """A small ``AutoencoderKL``, trained on windows of crops and finished on whole crops."""

    loop: LoopConfig
    block_out_channels: tuple[int, ...]
    latent_channels: int = Field(gt=0)
    norm_num_groups: int = Field(gt=0)
    window: float = Field(gt=0, le=1, description="side of a training window / side of a crop")
    batch_size: int = Field(gt=0, description="windows per step")
    whole_crop_steps: int = Field(ge=0, description="final steps on whole crops")
    whole_crop_batch_size: int = Field(gt=0)
    kl_weight: float = Field(ge=0, description="weight of the KL term, per latent element")


class LatentBankConfig(StrictModel):
    """Crops encoded once, so that the transformer never waits for the encoder."""

    crops: int = Field(gt=0)
    batch_size: int = Field(gt=0)


class TransformerConfig(StrictModel):
    """A ``DiTTransformer2DModel`` trained on the latent bank with a velocity target."""

    loop: LoopConfig
    num_layers: int = Field(gt=0)
    num_attention_heads: int = Field(gt=0)
    attention_head_dim: int = Field(gt=0)
    patch_size: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    label_dropout: float = Field(ge=0, lt=1)
    ema_decay: float = Field(gt=0, lt=1)
    ema_power: float = Field(gt=0, description="the average's memory grows as step ** power")


class ClassifierConfig(StrictModel):
    """The small convolutional judge of whether a sample shows its class."""

    loop: LoopConfig
    channels: tuple[int, ...]
    batch_size: int = Field(gt=0)


class PublishConfig(StrictModel):
    """What is measured on, and written into, the published folder."""

    folder: Path = Field(strict=False)
    dtype: Literal["bfloat16", "float16"]
    guidance_scales: tuple[float, ...]
    samples_per_class: int = Field(gt=0)
    sampling_steps: int = Field(gt=0)


class TrainConfig(StrictModel):
    """The whole recipe of a reference pipeline."""

    seed: int = Field(ge=0)
    output: Path = Field(strict=False)
    mixed_precision: Literal["auto", "no", "bf16"]
    data: DataConfig
    autoencoder: AutoencoderConfig
    latents: LatentBankConfig
    transformer: TransformerConfig
    classifier: ClassifierConfig
    publish: PublishConfig


def load_config(path: Path) -> TrainConfig:
    """Read and validate a recipe.

    Raises:
        PlanError: naming every key or value that does not fit.
    """
    return TrainConfig(**read_mapping(path))
