"""Labelled grids of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

_MARGIN = 8
_FONT_SIZE = 14


def to_pil(image: torch.Tensor) -> Image.Image:
    """A picture from [3, H, W] in [0, 1]."""
    array = (image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    return Image.fromarray(array)


def save_images(images: torch.Tensor, folder: Path) -> None:
    """Write [B, 3, H, W] in [0, 1] as ``0.png``, ``1.png``, … into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        to_pil(image).save(folder / f"{index}.png")


def image_grid(
    rows: Sequence[tuple[str, torch.Tensor]], captions: Sequence[str] = ()
) -> Image.Image:
    """One labelled row of pictures for each set.

    Args:
        rows: label and images [B, 3, H, W] in [0, 1], from top to bottom; all of one shape.
        captions: one text a column, written above the first row.
    """
    font = ImageFont.load_default(_FONT_SIZE)
    batch, _, height, width = rows[0][1].shape
    left = max(int(font.getlength(label)) for label, _ in rows) + 2 * _MARGIN
    top = _FONT_SIZE + 2 * _MARGIN if captions else _MARGIN
    size = (left + batch * (width + _MARGIN), top + len(rows) * (height + _MARGIN))
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for column, caption in enumerate(captions):
        centre = left + column * (width + _MARGIN) + width // 2
        draw.text((centre, top // 2), caption, fill="black", font=font, anchor="mm")
    for index, (label, images) in enumerate(rows):
        y = top + index * (height + _MARGIN)
        draw.text((left // 2, y + height // 2), label, fill="black", font=font, anchor="mm")
        for column, image in enumerate(images):
            canvas.paste(to_pil(image), (left + column * (width + _MARGIN), y))
    return canvas
