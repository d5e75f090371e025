"""Typed training recipes: what ``configs/train/*.yaml`` may say, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from dit_accel.configuration.overrides import read_config
from dit_accel.configuration.strict_model import StrictModel
from dit_accel.configuration.strict_yaml import read_mapping


class CropsConfig(StrictModel):
    """Random square crops of the photographs."""

    crop_size: int = Field(gt=0, description="side of a crop after resampling, pixels")
    scale: tuple[float, float] = Field(description="crop side / short side of the photograph")


class DataConfig(CropsConfig):
    """Crops, some of which are set apart."""

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
    """A diffusion transformer trained on the latent bank with a velocity target."""

    loop: LoopConfig
    num_layers: int = Field(gt=0)
    num_attention_heads: int = Field(gt=0)
    attention_head_dim: int = Field(gt=0)
    patch_size: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    condition_dropout: float = Field(ge=0, lt=1, description="share trained without a condition")
    ema_decay: float = Field(gt=0, lt=1)
    ema_power: float = Field(gt=0, description="the average's memory grows as step ** power")


class ClassifierConfig(StrictModel):
    """The small convolutional judge of whether a sample shows its class."""

    loop: LoopConfig
    channels: tuple[int, ...]
    batch_size: int = Field(gt=0)


class TextEncoderConfig(StrictModel):
    """A tiny ``T5EncoderModel``, trained to know what captions say, and fixed from then on."""

    loop: LoopConfig
    d_model: int = Field(gt=0)
    d_kv: int = Field(gt=0)
    d_ff: int = Field(gt=0)
    num_layers: int = Field(gt=0)
    num_heads: int = Field(gt=0)
    max_tokens: int = Field(gt=0, description="of a caption in training; padded to it")
    batch_size: int = Field(gt=0)


class PublishConfig(StrictModel):
    """What is measured on, and written into, the published folder."""

    folder: Path = Field(strict=False)
    dtype: Literal["bfloat16", "float16"]
    guidance_scales: tuple[float, ...] = Field(min_length=1)
    samples_per_class: int = Field(gt=0, description="or per photograph")
    sampling_steps: int = Field(gt=0)


class TextPublishConfig(PublishConfig):
    """Also how well samples have to follow their prompts, at the best guidance, to be published."""

    min_photograph_accuracy: float = Field(default=0.85, ge=0, le=1)
    min_part_accuracy: float = Field(default=0.5, ge=0, le=1)


class Recipe(StrictModel):
    """What the recipes of all reference pipelines have in common."""

    seed: int = Field(ge=0)
    output: Path = Field(strict=False)
    mixed_precision: Literal["auto", "no", "bf16"]
    data: CropsConfig
    latents: LatentBankConfig
    transformer: TransformerConfig
    publish: PublishConfig


class ClassRecipe(Recipe):
    """A class-conditional pipeline, from its autoencoder on."""

    data: DataConfig
    autoencoder: AutoencoderConfig
    classifier: ClassifierConfig


class TextRecipe(Recipe):
    """A text-conditional pipeline, starting from a class-conditional one of the same shape."""

    start_from: str = Field(description="DiT that lends autoencoder and weights: name or folder")
    text_encoder: TextEncoderConfig
    publish: TextPublishConfig


def load_recipe(path: Path) -> ClassRecipe | TextRecipe:
    """Read and validate a recipe; one with a key that `TextRecipe` alone has is text-conditional.

    Raises:
        PlanError: naming every key or value that does not fit.
    """
    # By either key, so that a slip in one of them is named for what it is.
    if read_mapping(path).keys().isdisjoint(("start_from", "text_encoder")):
        return read_config(ClassRecipe, path, ())
    return read_config(TextRecipe, path, ())
