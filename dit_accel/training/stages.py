"""The stages of a recipe, in order; each resumes where it was, and is quick when complete."""

from __future__ import annotations

from enum import Enum

from accelerate import Accelerator

from .autoencoder import AutoencoderStage
from .classifier import ClassifierStage
from .config import TrainConfig
from .latents import LatentStage
from .precision import choose_precision
from .publish import PublishStage
from .transformer_stage import TransformerStage


class StageName(str, Enum):
    """What can be asked for on the command line."""

    AUTOENCODER = "autoencoder"
    LATENTS = "latents"
    CLASSIFIER = "classifier"
    TRANSFORMER = "transformer"
    PUBLISH = "publish"
    ALL = "all"


def run_stage(name: StageName, config: TrainConfig) -> None:
    """Run one stage, or all of them in order."""
    if name is StageName.ALL:
        for stage in (stage for stage in StageName if stage is not StageName.ALL):
            run_stage(stage, config)
        return
    accelerator = Accelerator(mixed_precision=choose_precision(config))
    match name:
        case StageName.AUTOENCODER:
            AutoencoderStage(config, accelerator).run()
        case StageName.LATENTS:
            LatentStage(config, accelerator).run()
        case StageName.CLASSIFIER:
            ClassifierStage(config, accelerator).run()
        case StageName.TRANSFORMER:
            TransformerStage(config, accelerator).run()
        case StageName.PUBLISH:
            PublishStage(config).run()
