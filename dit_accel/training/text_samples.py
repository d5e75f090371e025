"""What a text-conditional pipeline is asked for when it is judged, and shown with."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor

from .captions import Description, Part, caption
from .config import TextRecipe
from .photos import CropSource
from .streams import Stream, training_crops
from .text_conditioning import description_of

GRID_PHOTOGRAPHS = ("astronaut", "camera", "cat", "coffee", "pagoda", "rocket")
GRID_PROMPTS = (
    "the whole of the {} photograph",
    "the whole of the {} photograph, mirrored",
    "a close view of the upper left of the {} photograph",
    "a near view of the top right of the {}, flipped",
    "a close up of the bottom left of the {} picture",
    "a close view of the lower right part of the {} photo",
)
_SEARCHED = 600  # crops of a photograph; it has all ten parts long before


@dataclass(frozen=True)
class HeldOut:
    """Real crops that nothing was trained on, and prompts that ask for the same."""

    pictures: Tensor
    """``[N, 3, S, S]`` in [-1, 1]."""
    descriptions: list[Description]
    prompts: list[str]


def held_out(config: TextRecipe) -> HeldOut:
    """``samples_per_class`` crops of every photograph, which show its parts in turn."""
    source = training_crops(config, Stream.HELD_OUT)
    indices = varied_crops(source, config.publish.samples_per_class)
    rng = np.random.default_rng((config.seed, Stream.SAMPLES))
    descriptions = [description_of(source, index) for index in indices]
    crops = [source.render(source.crop(index), config.data.crop_size) for index in indices]
    return HeldOut(torch.stack(crops), descriptions, [caption(d, rng) for d in descriptions])


def varied_crops(source: CropSource, per_photograph: int) -> list[int]:
    """Indices of crops, photograph by photograph; within one, its parts take turns."""
    searched = max(_SEARCHED, per_photograph)
    turns = (_parts_in_turn(source, photo, searched) for photo in range(len(source.photos)))
    return [index for indices in turns for index in indices[:per_photograph]]


def grid_prompts() -> list[str]:
    """The prompts of the card's picture grid, row by row: one photograph a row."""
    return [prompt.format(name) for name in GRID_PHOTOGRAPHS for prompt in GRID_PROMPTS]


def _parts_in_turn(source: CropSource, photo: int, searched: int) -> list[int]:
    count = len(source.photos)
    by_part = defaultdict(list)
    for index in range(photo, searched * count, count):
        by_part[description_of(source, index).part].append(index)
    rounds = zip_longest(*(by_part[part] for part in Part))
    return [index for one_round in rounds for index in one_round if index is not None]
