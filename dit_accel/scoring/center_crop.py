"""The centre crop of guided-diffusion (ADM), which made the ImageNet references of this field.

Dhariwal & Nichol, "Diffusion Models Beat GANs on Image Synthesis", ``center_crop_arr`` in
``guided_diffusion/image_datasets.py``: halve by box averages while the short side stays at least
twice the size, then one bicubic resize of the short side to the size, then the central square.
"""

from __future__ import annotations

import numpy as np
from PIL import Image


def center_crop(picture: Image.Image, size: int) -> np.ndarray:
    """The central square of `picture`, resampled to ``[size, size, 3]`` uint8."""
    while min(picture.size) >= 2 * size:
        halved = (picture.width // 2, picture.height // 2)
        picture = picture.resize(halved, Image.Resampling.BOX)
    scale = size / min(picture.size)
    resized = (round(picture.width * scale), round(picture.height * scale))
    pixels = np.asarray(picture.resize(resized, Image.Resampling.BICUBIC))
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    return pixels[top : top + size, left : left + size]
