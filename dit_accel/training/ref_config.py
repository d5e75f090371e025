"""The recipe of the ``ref`` features: what ``configs/train/ref_features.yaml`` may say."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from dit_accel.configuration.strict_model import StrictModel
from dit_accel.configuration.strict_yaml import read_mapping

from .config import DataConfig, LoopConfig


class RefNetworkConfig(StrictModel):
    """Shape of the feature network."""

    channels: tuple[int, ...] = Field(min_length=2, description="one entry per halving")
    features: int = Field(gt=0, le=64, description="few enough for 256 samples to carry them")
    grid: int = Field(gt=0, description="cells per side of the coarse layout grid")
    grid_channels: int = Field(gt=0)
    hidden: int = Field(gt=0, description="width of the layout head")


class RefLossConfig(StrictModel):
    """Weights of the loss terms beside the cross entropy of the photograph."""

    layout: float = Field(ge=0)
    mirrored: float = Field(ge=0)
    degradation: float = Field(ge=0)
    variance: float = Field(ge=0, description="VICReg: every feature has a spread of 1 or more")
    covariance: float = Field(ge=0, description="VICReg: different features are uncorrelated")


class RefConfig(StrictModel):
    """The whole recipe of the ``ref`` features."""

    seed: int = Field(ge=0)
    output: Path = Field(strict=False)
    mixed_precision: Literal["no", "bf16"]
    data: DataConfig
    bank_crops: int = Field(gt=0, description="crops rendered once and reused")
    batch_size: int = Field(gt=0)
    degraded_share: float = Field(ge=0, le=1, description="crops that are damaged, once each")
    network: RefNetworkConfig
    loss: RefLossConfig
    loop: LoopConfig
    reference_crops: int = Field(
        gt=1, description="real crops that the card's sets are compared to"
    )
    scored_crops: int = Field(gt=1, description="real crops in each of those sets")
    publish: Path = Field(strict=False)


def load_ref_config(path: Path) -> RefConfig:
    """Read and validate a recipe.

    Raises:
        PlanError: naming every key or value that does not fit.
    """
    return RefConfig(**read_mapping(path))
