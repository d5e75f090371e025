"""The resize rules of published scores. The rule is part of the metric: FID moves by whole points.

TensorFlow 1's bilinear resize takes no account of pixel centres or of aliasing, and reference
statistics of ADM and torch-fidelity hold its errors. clean-fid (Parmar et al. 2022, "On Aliased
Resizing") resizes each channel with PIL's antialiased bicubic filter in float32.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor


def tf_resize(images: Tensor, size: int) -> Tensor:
    """Resize as TensorFlow 1's ``resize_bilinear(align_corners=False)`` does.

    Output pixel i reads input position ``i * in / out`` (no half-pixel shift), from the two
    neighbours alone, so that making smaller aliases.

    Args:
        images: ``[B, C, H, W]``, any number type; computed in float32 on their device.
        size: height and width of the result.

    Returns:
        float32 ``[B, C, size, size]`` in the range of the input.
    """
    images = images.float()
    low, high, weight = _bilinear_taps(images.shape[3], size, images.device)
    left = images[..., low]
    rows = left + (images[..., high] - left) * weight
    low, high, weight = _bilinear_taps(images.shape[2], size, images.device)
    top = rows[:, :, low]
    return top + (rows[:, :, high] - top) * weight[:, None]


def _bilinear_taps(length: int, size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each of `size` outputs its two input indices and the weight of the second."""
    # In float32 as in the graph: a position in float64 would round to other pixels.
    scale = torch.tensor(length / size, dtype=torch.float32, device=device)
    position = torch.arange(size, dtype=torch.float32, device=device) * scale
    low = position.long()
    return low, (low + 1).clamp_max(length - 1), position - low


def clean_resize(images: Tensor, size: int) -> Tensor:
    """Resize as clean-fid's mode ``clean`` does: PIL bicubic, channel by channel, in float32.

    The filter's over- and undershoot is clipped to the range of bytes but not rounded to bytes.

    Args:
        images: uint8 ``[B, C, H, W]``.
        size: height and width of the result.

    Returns:
        float32 ``[B, C, size, size]`` in [0, 255], on the CPU, where PIL works.
    """
    planes = images.cpu().flatten(0, 1).to(torch.float32).numpy()
    resized = [_bicubic(Image.fromarray(plane), size, size) for plane in planes]
    return torch.from_numpy(np.stack(resized).clip(0, 255)).reshape(*images.shape[:2], size, size)


def pil_resize(images: Tensor, height: int, width: int) -> Tensor:
    """Resize pictures as PIL does with a picture from a file: antialiased bicubic, in bytes.

    Args:
        images: uint8 ``[B, 3, H, W]``.
        height: rows of the result.
        width: columns of the result.

    Returns:
        uint8 ``[B, 3, height, width]`` on the CPU.
    """
    pictures = images.cpu().permute(0, 2, 3, 1).contiguous().numpy()
    resized = [_bicubic(Image.fromarray(picture), height, width) for picture in pictures]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2)


def _bicubic(picture: Image.Image, height: int, width: int) -> NDArray[np.generic]:
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))


def short_side_resize(images: Tensor, size: int) -> Tensor:
    """Resize by `pil_resize` so that the shorter side is `size`, then cut out the middle square.

    Args:
        images: uint8 ``[B, 3, H, W]``.
        size: height and width of the result.

    Returns:
        uint8 ``[B, 3, size, size]`` on the CPU.
    """
    height, width = images.shape[2:]
    short = min(height, width)
    resized = pil_resize(images, size * height // short, size * width // short)
    top, left = (resized.shape[2] - size) // 2, (resized.shape[3] - size) // 2
    return resized[:, :, top : top + size, left : left + size]
