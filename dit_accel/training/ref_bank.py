"""What the ``ref`` features learn from: crops, where they lie, and random damage to them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .degradations import DEGRADATIONS, degrade
from .photos import Crop, CropSource

_NAMES = tuple(DEGRADATIONS)


@dataclass(frozen=True)
class RefBatch:
    """Pictures and everything the heads are to say about them."""

    pixels: Tensor
    """``[B, 3, S, S]`` in [-1, 1]."""
    photograph: Tensor
    """``[B]`` long."""
    layout: Tensor
    """``[B, 3]``: centre x, y as shares of the photograph's sides; side / its short side."""
    mirrored: Tensor
    """``[B]``: 1.0 for a mirrored picture."""
    degradation: Tensor
    """``[B, 8]``: strengths in the order of ``DEGRADATIONS``."""

    def to(self, device: torch.device) -> RefBatch:
        """The same batch on another device."""
        return RefBatch(**{name: value.to(device) for name, value in vars(self).items()})


def layout_of(crop: Crop, photo_size: tuple[int, int]) -> tuple[float, float, float]:
    """Centre of a crop as shares of (width, height), and its side as a share of the shorter."""
    width, height = photo_size
    half = crop.side / 2
    centre = (crop.left + half) / width, (crop.top + half) / height
    return (*centre, crop.side / min(width, height))


def to_unit(pixels: Tensor) -> Tensor:
    """uint8 pictures to float32 in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def to_bytes(pixels: Tensor) -> Tensor:
    """Pictures in [-1, 1] to uint8."""
    return (pixels.clamp(-1, 1) * 127.5 + 127.5).round().byte()


class CropBank:
    """Unmirrored crops rendered once, with a damaged copy of each; batches mirror at random."""

    def __init__(self, source: CropSource, count: int, size: int) -> None:
        self.seed = source.seed
        crops = [replace(source.crop(index), mirrored=False) for index in range(count)]
        sizes = [photo.size for photo in source.photos]
        self.labels = torch.tensor([crop.photo for crop in crops])
        self.layouts = torch.tensor([layout_of(crop, sizes[crop.photo]) for crop in crops])

        def render(index: int) -> tuple[Tensor, Tensor, Tensor]:
            picture = to_bytes(source.render(crops[index], size))
            return picture, *damage(picture, np.random.default_rng((*source.seed, index, 2)))

        with ThreadPoolExecutor(os.cpu_count()) as threads:  # Pillow resamples without the GIL
            columns = zip(*threads.map(render, range(count)), strict=True)
            self.clean, self.damaged, self.strengths = (torch.stack(rows) for rows in columns)

    def batch(self, step: int, count: int, degraded_share: float) -> RefBatch:
        """The batch of one step: a pure function of the seed and the step."""
        rng = np.random.default_rng((*self.seed, step, 3))  # (..., index, 1) are windows
        chosen = torch.from_numpy(rng.integers(len(self.labels), size=count))
        mirrored = torch.from_numpy(rng.random(count) < 0.5)
        degraded = torch.from_numpy(rng.random(count) < degraded_share)
        pixels = _where(degraded, self.damaged[chosen], self.clean[chosen])
        return RefBatch(
            to_unit(_where(mirrored, pixels.flip(-1), pixels)),
            self.labels[chosen],
            self.layouts[chosen],
            mirrored.float(),
            self.strengths[chosen] * degraded[:, None],
        )


def damage(picture: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A uint8 picture damaged in one random way, and the strengths ``[8]`` of all ways."""
    kind, strength = int(rng.integers(len(_NAMES))), float(rng.random())
    strengths = torch.zeros(len(_NAMES))
    strengths[kind] = strength
    return degrade(picture, _NAMES[kind], strength, rng), strengths


def _where(chosen: Tensor, pictures: Tensor, others: Tensor) -> Tensor:
    return torch.where(chosen[:, None, None, None], pictures, others)
