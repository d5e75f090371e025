"""The pixels of an image as an identity: what is hashed, and what counts as an image."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from dit_accel.errors import DitAccelError

Pixels = npt.NDArray[np.uint8]


def pixel_sha256(image: Pixels) -> str:
    """Return the SHA-256 of an RGB image, uint8 ``[H, W, 3]``: of its shape, then its bytes.

    It is the same for every file format, and for every level of compression.
    """
    height, width, channels = image.shape
    digest = hashlib.sha256(f"{height}x{width}x{channels}:".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def checked(image: Pixels, name: str) -> Pixels:
    """Return `image` if it is uint8 ``[H, W, 3]``.

    Raises:
        DitAccelError: if it is anything else.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DitAccelError(
            f"{name}: got {image.dtype} {list(image.shape)}, expected uint8 [height, width, 3]; "
            "convert the image to 8-bit RGB first"
        )
    return image
