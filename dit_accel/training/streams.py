"""Which random stream each purpose draws from, so that no two ever share a crop or a noise."""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

from .config import ClassRecipe, Recipe
from .photos import CropSource, load_photos


class Stream(IntEnum):
    """Independent random streams of one seed."""

    HELD_OUT = 0
    AUTOENCODER = 1
    LATENTS = 2
    TRANSFORMER = 3
    CLASSIFIER = 4
    SAMPLES = 5
    REF_FEATURES = 6
    REFERENCE = 7
    CAPTIONS = 8


def training_crops(config: Recipe, stream: Stream) -> CropSource:
    """The endless crop source of one purpose."""
    return CropSource(load_photos(), (config.seed, stream), config.data.scale)


def held_out_crops(config: ClassRecipe) -> tuple[Tensor, Tensor]:
    """The fixed scoring set, sorted by class: ``[N, 3, S, S]`` in [-1, 1] and labels ``[N]``."""
    source = training_crops(config, Stream.HELD_OUT)
    count = config.data.held_out_per_class * len(source.photos)
    pixels, labels = source.batch(0, count, config.data.crop_size)
    order = torch.argsort(labels, stable=True)
    return pixels[order], labels[order]
