"""How far pictures are from a reference set, seed by seed: PSNR and SSIM through torchmetrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)


@dataclass(frozen=True)
class Fidelity:
    """Means over the images of one set against the same seeds of another."""

    psnr_db: float
    ssim: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form; an infinite PSNR (identical sets) becomes ``None``."""
        finite = self.psnr_db != float("inf")
        return {"psnr_db": self.psnr_db if finite else None, "ssim": self.ssim}


def fidelity(images: torch.Tensor, reference: torch.Tensor) -> Fidelity:
    """PSNR and SSIM of each image, then the mean.

    Args:
        images: [B, 3, H, W] in [0, 1].
        reference: the same shape and range; image ``i`` comes from the same seed and condition.

    Returns:
        Mean PSNR in dB (infinite when every image is identical) and mean SSIM.

    Raises:
        ValueError: the sets differ in shape.
    """
    if images.shape != reference.shape:
        raise ValueError(f"image sets differ: {tuple(images.shape)}, {tuple(reference.shape)}")
    images, reference = images.float(), reference.float()
    if torch.equal(images, reference):
        return Fidelity(float("inf"), 1.0)
    psnr, ssim = image_psnr(images, reference), image_ssim(images, reference)
    return Fidelity(float(psnr.mean()), float(ssim.mean()))


def image_psnr(images: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """PSNR of each image in dB, ``[B]``; infinite where the two are identical.

    Args:
        images: [B, 3, H, W] in [0, 1], float.
        reference: the same shape and range.
    """
    return peak_signal_noise_ratio(
        images, reference, data_range=(0.0, 1.0), reduction="none", dim=(1, 2, 3)
    )


def image_ssim(images: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """SSIM of each image (Gaussian window of 11 x 11, sigma 1.5), ``[B]``.

    Args:
        images: [B, 3, H, W] in [0, 1], float.
        reference: the same shape and range.
    """
    value = structural_similarity_index_measure(
        images, reference, data_range=(0.0, 1.0), reduction="none"
    )
    assert isinstance(value, torch.Tensor)  # a tuple only when the full map is asked for
    return value
