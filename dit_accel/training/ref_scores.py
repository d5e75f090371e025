"""What FD-ref answers to changes whose size is known: the tables of the model card."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from dit_accel.extractors.ref import RefExtractor
from dit_accel.metrics import FeatureStatistics, frechet_distance
from dit_accel.reference_models import find

from .degradations import (
    colour_shift,
    contrast,
    flat_blocks,
    gaussian_blur,
    jpeg,
    low_pass,
    warp,
    white_noise,
)
from .photos import PHOTOS
from .ref_bank import to_bytes, to_unit
from .reference_crops import photo_crops

Change = Callable[[Tensor], Tensor]
_CHUNK = 64


def fd_ref(features: Tensor, reference: Tensor) -> float:
    """Frechet distance between two sets of features ``[N, 64]`` and ``[M, 64]``."""
    left, right = moments(features), moments(reference)
    return frechet_distance(left.mean, left.cov, right.mean, right.cov)


def moments(features: Tensor) -> FeatureStatistics:
    """Mean and covariance of features ``[N, D]``."""
    return FeatureStatistics(features.shape[1]).update(features)


def features_of(extractor: RefExtractor, pictures: Tensor) -> Tensor:
    """Features ``[N, 64]`` of uint8 pictures ``[N, 3, S, S]``, on the CPU."""
    chunks = torch.split(pictures, _CHUNK)
    return torch.cat([extractor(chunk)["features"].cpu() for chunk in chunks])


def damages() -> dict[str, Change]:
    """Changes of one float picture ``[3, S, S]`` in [0, 1]; each family from mild to strong."""
    rng = np.random.default_rng(0)
    families: dict[str, tuple[Callable[[Tensor, float], Tensor], tuple[float, ...]]] = {
        "Gaussian blur, {:g} px": (gaussian_blur, (0.5, 1, 2)),
        "white noise, {:g} of 255": (lambda p, n: white_noise(p, n / 255, rng), (2, 5, 10, 20)),
        "JPEG, quality {:g}": (lambda p, quality: jpeg(p, int(quality)), (90, 50, 20, 10)),
        "down and up by {:g}": (low_pass, (1.5, 2, 4)),
        "{:.0%} of 8 x 8 blocks flat": (lambda p, s: flat_blocks(p, s, rng), (0.02, 0.1, 0.3)),
        "warped by {:g} px": (lambda p, pixels: warp(p, pixels, rng), (0.5, 1, 2)),
        "contrast x {:g}": (contrast, (0.95, 0.9, 0.7)),
        "colour shifted by {:g} of 255": (lambda p, n: colour_shift(p, n / 255, rng), (5, 20)),
    }
    return {
        title.format(amount): _at(change, amount)
        for title, (change, amounts) in families.items()
        for amount in amounts
    }


def _at(change: Callable[[Tensor, float], Tensor], amount: float) -> Change:
    return lambda picture: change(picture, amount)


def changed(pictures: Tensor, change: Change) -> Tensor:
    """uint8 pictures ``[N, 3, S, S]``, each changed and rounded to uint8 again."""
    damaged = torch.stack([change(picture.float() / 255) for picture in pictures])
    return (damaged.clamp(0, 1) * 255).round().byte()


@torch.no_grad()
def round_trip(pictures: Tensor) -> Tensor:
    """uint8 pictures through the autoencoder of ``dit-photos``: the best any sample can be."""
    autoencoder = AutoencoderKL.from_pretrained(find("dit-photos"), subfolder="vae").float()

    def decoded() -> Iterator[Tensor]:
        for chunk in torch.split(pictures, _CHUNK):
            latents = autoencoder.encode(to_unit(chunk)).latent_dist.mode()
            yield to_bytes(autoencoder.decode(latents).sample)

    return torch.cat(list(decoded()))


def without_photographs(features: Tensor, missing: int) -> Tensor:
    """The features of crops in turn of all photographs, less those of the first few of them."""
    return features[torch.arange(len(features)) % len(PHOTOS) >= missing]


def eigenvalue_ratio(features: Tensor) -> float:
    """Smallest over largest eigenvalue of the covariance of ``[N, D]`` features."""
    eigenvalues = np.linalg.eigvalsh(moments(features).cov)
    return float(eigenvalues[0] / eigenvalues[-1])


def response_table(
    extractor: RefExtractor, reference: Tensor, count: int, size: int, start: int
) -> dict[str, float]:
    """FD-ref to ``reference`` of ``count`` real crops from ``start`` on, changed in every way."""
    pictures = torch.cat(list(photo_crops(count, size, start=start)))
    real = features_of(extractor, pictures)
    table = {"unchanged": fd_ref(real, reference)}
    sets = {name: changed(pictures, change) for name, change in damages().items()}
    sets["autoencoder of `dit-photos`, there and back"] = round_trip(pictures)
    for name, altered in sets.items():
        table[name] = fd_ref(features_of(extractor, altered), reference)
    for missing in (1, 3, 7):
        rest = without_photographs(real, missing)
        table[f"{missing} of {len(PHOTOS)} photographs missing"] = fd_ref(rest, reference)
    return table
