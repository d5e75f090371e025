"""The training photographs, and random crops of them as a pure function of (seed, index).

Nothing here keeps a random state: crop ``i`` of a stream is always the same picture, whichever
process asks and whatever was drawn before.  That is what makes training resumable at any kill.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np
import torch
from PIL import Image
from torch import Tensor

_CC_BY = "https://creativecommons.org/licenses/by/2.0/"


@dataclass(frozen=True)
class Photo:
    """One photograph that ships inside an installed wheel; one class of the model."""

    label: str
    package: str
    path: str
    licence: str


PHOTOS: tuple[Photo, ...] = (
    Photo("astronaut", "skimage", "data/astronaut.png", "public domain (NASA)"),
    Photo("brick", "skimage", "data/brick.png", "CC0 (CC0Textures)"),
    Photo("camera", "skimage", "data/camera.png", "CC0 (Lav Varshney)"),
    Photo("cat", "skimage", "data/chelsea.png", "CC0 (Stefan van der Walt)"),
    Photo("clock", "skimage", "data/clock_motion.png", "public domain (Stefan van der Walt)"),
    Photo("coffee", "skimage", "data/coffee.png", "CC0 (Rachel Michetti)"),
    Photo("coins", "skimage", "data/coins.png", "no known restrictions (Brooklyn Museum)"),
    Photo("flower", "sklearn", "datasets/images/flower.jpg", f"CC BY 2.0 (vultilion), {_CC_BY}"),
    Photo("galaxies", "skimage", "data/hubble_deep_field.jpg", "public domain (NASA)"),
    Photo("gravel", "skimage", "data/gravel.png", "CC0 (CC0Textures)"),
    Photo(
        "pagoda", "sklearn", "datasets/images/china.jpg", f"CC BY 2.0 (danielbuechele), {_CC_BY}"
    ),
    Photo("retina", "skimage", "data/retina.jpg", "CC0 / public domain (Mikael Häggström)"),
    Photo("rocket", "skimage", "data/rocket.jpg", "public domain (SpaceX)"),
    Photo("text", "skimage", "data/text.png", "no known restrictions (Wikipedia)"),
    Photo("tissue", "skimage", "data/ihc.png", "no known restrictions (CMMI)"),
)


@dataclass(frozen=True)
class Crop:
    """A square window of one photograph: corner and side in source pixels."""

    photo: int
    left: float
    top: float
    side: float
    mirrored: bool

    def window(self, x: float, y: float, fraction: float) -> Crop:
        """The sub-square of ``fraction`` of the side whose corner lies at (x, y) in [0, 1]."""
        room = self.side * (1 - fraction)
        return Crop(
            self.photo,
            self.left + x * room,
            self.top + y * room,
            self.side * fraction,
            self.mirrored,
        )


def load_photos(photos: tuple[Photo, ...] = PHOTOS) -> list[Image.Image]:
    """Open the photographs as RGB from the installed packages; no network, no cache folder."""
    return [_open(photo) for photo in photos]


def _open(photo: Photo) -> Image.Image:
    with resources.files(photo.package).joinpath(photo.path).open("rb") as stream:
        return Image.open(stream).convert("RGB")


class CropSource:
    """Random square crops of a set of photographs, addressed by index.

    Streams with different ``seed`` tuples are independent; the held-out crops are simply another
    stream, so they are fixed for ever and are (with probability one) never trained on.
    """

    def __init__(
        self, photos: list[Image.Image], seed: tuple[int, ...], scale: tuple[float, float]
    ) -> None:
        self.photos = photos
        self.seed = seed
        self.scale = scale

    def crop(self, index: int) -> Crop:
        """Crop ``index``: classes take turns, so that every class is seen equally often."""
        rng = np.random.default_rng((*self.seed, index))
        photo = index % len(self.photos)
        width, height = self.photos[photo].size
        side = rng.uniform(*self.scale) * min(width, height)
        left, top = rng.uniform(0, width - side), rng.uniform(0, height - side)
        return Crop(photo, left, top, side, bool(rng.integers(2)))

    def window(self, index: int, fraction: float) -> Crop:
        """A random sub-window of crop ``index``, itself a pure function of the index."""
        x, y = np.random.default_rng((*self.seed, index, 1)).uniform(size=2)
        return self.crop(index).window(x, y, fraction)

    def render(self, crop: Crop, size: int) -> Tensor:
        """The crop resampled (antialiased) to ``[3, size, size]`` in [-1, 1], float32."""
        box = (crop.left, crop.top, crop.left + crop.side, crop.top + crop.side)
        picture = self.photos[crop.photo].resize((size, size), Image.Resampling.BICUBIC, box=box)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1
        return pixels.flip(-1) if crop.mirrored else pixels

    def batch(self, start: int, count: int, size: int) -> tuple[Tensor, Tensor]:
        """Crops ``start .. start + count``: ``[count, 3, size, size]`` and labels ``[count]``."""
        crops = [self.crop(index) for index in range(start, start + count)]
        pixels = torch.stack([self.render(crop, size) for crop in crops])
        return pixels, torch.tensor([crop.photo for crop in crops])

    def window_batch(self, start: int, count: int, size: int, fraction: float) -> Tensor:
        """Random windows of crops ``start .. start + count``: ``[count, 3, size, size]``."""
        windows = [self.window(index, fraction) for index in range(start, start + count)]
        return torch.stack([self.render(window, size) for window in windows])
