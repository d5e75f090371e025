"""Pictures small enough to travel inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

_LONGEST_SIDE, _SMALLEST_SIDE = 256, 32
_QUALITIES = (92, 80, 60)


@dataclass(frozen=True)
class Thumbnail:
    """A picture as a ``data:`` address; ``exact`` if it still holds every pixel as it was."""

    uri: str
    width: int
    height: int
    exact: bool


def thumbnail(pixels: np.ndarray, budget: int) -> Thumbnail:
    """The best copy that fits: all pixels without loss, else compressed, else smaller as well.

    Args:
        pixels: uint8 [H, W, 3].
        budget: bytes of the encoded picture; kept to unless a copy 32 pixels wide is too much.
    """
    original = Image.fromarray(pixels)
    copies = _copies(original)
    picture, data, lossless = next(copies)
    while len(data) > budget and max(picture.size) > _SMALLEST_SIDE:
        picture, data, lossless = next(copies)
    uri = "data:image/webp;base64," + base64.b64encode(data).decode("ascii")
    return Thumbnail(uri, *picture.size, exact=lossless and picture.size == original.size)


def _copies(original: Image.Image) -> Iterator[tuple[Image.Image, bytes, bool]]:
    side = min(_LONGEST_SIDE, max(original.size))
    while True:
        picture = _shrunk(original, side)
        yield picture, _webp(picture, lossless=True), True
        for quality in _QUALITIES:
            yield picture, _webp(picture, quality=quality), False
        side = max(side // 2, _SMALLEST_SIDE)


def _shrunk(picture: Image.Image, side: int) -> Image.Image:
    scale = side / max(picture.size)
    if scale >= 1:
        return picture
    size = tuple(max(1, round(length * scale)) for length in picture.size)
    return picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)


def _webp(picture: Image.Image, **options: int | bool) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "WEBP", method=4, **options)
    return stream.getvalue()
