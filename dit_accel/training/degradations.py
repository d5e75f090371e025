"""Damage of a known strength: what the ``ref`` features must be able to see.

Each function takes a picture ``[3, S, S]`` in [0, 1] and returns one of the same shape, unclamped.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

_BLOCK = 8


def gaussian_blur(picture: Tensor, sigma: float) -> Tensor:
    """Convolve with a Gaussian of ``sigma`` pixels; edges are mirrored."""
    radius = math.ceil(3 * sigma)
    if radius == 0:
        return picture
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(picture, [radius] * 4, mode="reflect")[:, None]
    blurred = F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return blurred[:, 0]


def white_noise(picture: Tensor, sigma: float, rng: np.random.Generator) -> Tensor:
    """Add independent Gaussian noise; ``sigma`` is a share of the full range."""
    return picture + sigma * _normal(rng, tuple(picture.shape))


def jpeg(picture: Tensor, quality: int) -> Tensor:
    """Through a JPEG file of ``quality`` 1 to 95."""
    levels = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, "jpeg", quality=quality)
    decoded = np.array(Image.open(stream))
    return torch.from_numpy(decoded).permute(2, 0, 1).float() / 255


def low_pass(picture: Tensor, factor: float) -> Tensor:
    """Down by ``factor`` and up again, both by antialiased bicubic filters."""
    side = picture.shape[-1]
    small = max(1, round(side / factor))
    reduced = F.interpolate(picture[None], (small, small), mode="bicubic", antialias=True)
    return F.interpolate(reduced, (side, side), mode="bicubic")[0]


def flat_blocks(picture: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Replace a random ``share`` of the 8 x 8 blocks by their means, as merged tokens would."""
    side = picture.shape[-1]
    means = F.avg_pool2d(picture[None], _BLOCK, ceil_mode=True)
    chosen = torch.from_numpy(rng.random(means.shape[2:]) < share)
    mask = chosen[None, None].repeat_interleave(_BLOCK, 2).repeat_interleave(_BLOCK, 3)
    flat = means.repeat_interleave(_BLOCK, 2).repeat_interleave(_BLOCK, 3)
    return torch.where(mask, flat, F.pad(picture[None], [0, -side % _BLOCK] * 2))[
        0, :, :side, :side
    ]


def warp(picture: Tensor, amplitude: float, rng: np.random.Generator) -> Tensor:
    """Move the content by a smooth random field of ``amplitude`` pixels (standard deviation)."""
    side = picture.shape[-1]
    coarse = _normal(rng, (1, 2, 5, 5)) * (2 * amplitude / side)
    shift = F.interpolate(coarse, (side, side), mode="bicubic")[0].permute(1, 2, 0)
    axis = (2 * torch.arange(side) + 1) / side - 1
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1) + shift
    moved = F.grid_sample(picture[None], grid[None], padding_mode="reflection", align_corners=False)
    return moved[0]


def contrast(picture: Tensor, factor: float) -> Tensor:
    """Scale the distance to the picture's own mean."""
    mean = picture.mean()
    return mean + factor * (picture - mean)


def colour_shift(picture: Tensor, distance: float, rng: np.random.Generator) -> Tensor:
    """Add one colour of length ``distance`` in a random direction."""
    direction = F.normalize(_normal(rng, (3, 1, 1)), dim=0)
    return picture + distance * direction


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


# Squares: most of the training is near the threshold of the visible, where methods differ.
DEGRADATIONS: dict[str, Callable[[Tensor, float, np.random.Generator], Tensor]] = {
    "blur": lambda picture, strength, rng: gaussian_blur(picture, 3 * strength**2),
    "noise": lambda picture, strength, rng: white_noise(picture, 0.2 * strength**2, rng),
    "jpeg": lambda picture, strength, rng: jpeg(picture, round(95 - 85 * strength)),
    "low_pass": lambda picture, strength, rng: low_pass(picture, 1 + 3 * strength**2),
    "flat_blocks": lambda picture, strength, rng: flat_blocks(picture, 0.5 * strength**2, rng),
    "warp": lambda picture, strength, rng: warp(picture, 4 * strength**2, rng),
    "contrast": lambda picture, strength, rng: contrast(
        picture, 1 + rng.choice([-0.5, 0.5]) * strength
    ),
    "colour_shift": lambda picture, strength, rng: colour_shift(picture, 0.2 * strength, rng),
}
"""By name: a degradation of a strength from 0 (hardly any) to 1 (plain to see)."""


def degrade(picture: Tensor, name: str, strength: float, rng: np.random.Generator) -> Tensor:
    """Damage a uint8 picture ``[3, S, S]``; the result is uint8 again, as a stored picture is."""
    damaged = DEGRADATIONS[name](picture.float() / 255, strength, rng)
    return (damaged.clamp(0, 1) * 255).round().byte()
