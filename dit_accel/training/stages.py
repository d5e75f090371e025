"""The stages of a recipe, in order; each resumes where it was, and is quick when complete."""

from __future__ import annotations

from enum import Enum

from accelerate import Accelerator

from dit_accel.errors import DitAccelError, mismatch

from .autoencoder import AutoencoderStage
from .classifier import ClassifierStage
from .config import ClassRecipe, TextRecipe
from .latents import LatentStage
from .precision import choose_precision
from .publish import PublishStage
from .starting_point import starting_point
from .text_encoder import TextEncoderStage
from .text_publish import TextPublishStage
from .transformer_stage import TransformerStage


class StageName(str, Enum):
    """What can be asked for on the command line."""

    AUTOENCODER = "autoencoder"
    TEXT_ENCODER = "text-encoder"
    LATENTS = "latents"
    CLASSIFIER = "classifier"
    TRANSFORMER = "transformer"
    PUBLISH = "publish"
    ALL = "all"


_SHARED = (StageName.LATENTS, StageName.TRANSFORMER, StageName.PUBLISH)
CLASS_STAGES = (StageName.AUTOENCODER, StageName.CLASSIFIER, *_SHARED)
TEXT_STAGES = (StageName.TEXT_ENCODER, *_SHARED)


def run_stage(name: StageName, config: ClassRecipe | TextRecipe) -> None:
    """Run one stage, or all of the recipe's in order.

    Raises:
        DitAccelError: the recipe has no such stage, or starts from what is not there or unfit.
    """
    stages = TEXT_STAGES if isinstance(config, TextRecipe) else CLASS_STAGES
    if isinstance(config, TextRecipe):
        starting_point(config)
    if name is StageName.ALL:
        for stage in stages:
            run_stage(stage, config)
        return
    if name not in stages:
        names = ", ".join(stage.value for stage in (*stages, StageName.ALL))
        raise DitAccelError(f"stage: {mismatch(name.value, f'one of {names}', 'choose one')}")
    accelerator = Accelerator(mixed_precision=choose_precision(config))
    if name is StageName.LATENTS:
        LatentStage(config, accelerator).run()
    elif name is StageName.TRANSFORMER:
        TransformerStage(config, accelerator).run()
    elif isinstance(config, TextRecipe):
        _run_text_stage(name, config, accelerator)
    else:
        _run_class_stage(name, config, accelerator)


def _run_class_stage(name: StageName, config: ClassRecipe, accelerator: Accelerator) -> None:
    match name:
        case StageName.AUTOENCODER:
            AutoencoderStage(config, accelerator).run()
        case StageName.CLASSIFIER:
            ClassifierStage(config, accelerator).run()
        case StageName.PUBLISH:
            PublishStage(config).run()


def _run_text_stage(name: StageName, config: TextRecipe, accelerator: Accelerator) -> None:
    match name:
        case StageName.TEXT_ENCODER:
            TextEncoderStage(config, accelerator).run()
        case StageName.PUBLISH:
            TextPublishStage(config).run()
