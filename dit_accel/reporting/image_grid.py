"""Labelled grids of pictures."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import TypeAlias

import torch
from PIL import Image, ImageDraw, ImageFont

Font: TypeAlias = ImageFont.ImageFont | ImageFont.FreeTypeFont
_MARGIN = 8
_FONT_SIZE = 14
_LINE_HEIGHT = 18
_MOST_LINES = 4


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
        captions: one text a column, written above the first row; long ones over a few lines, and
            cut beyond these.
    """
    font = ImageFont.load_default(_FONT_SIZE)
    batch, _, height, width = rows[0][1].shape
    left = max(int(font.getlength(label)) for label, _ in rows) + 2 * _MARGIN
    titles = [wrapped(caption, font, width) for caption in captions]
    lines = max((len(title) for title in titles), default=0)
    top = lines * _LINE_HEIGHT + 2 * _MARGIN if lines else _MARGIN
    size = (left + batch * (width + _MARGIN), top + len(rows) * (height + _MARGIN))
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for column, title in enumerate(titles):
        centre = left + column * (width + _MARGIN) + width // 2
        for number, line in enumerate(title):
            y = top - _MARGIN - (len(title) - number) * _LINE_HEIGHT + _LINE_HEIGHT // 2
            draw.text((centre, y), line, fill="black", font=font, anchor="mm")
    for index, (label, images) in enumerate(rows):
        y = top + index * (height + _MARGIN)
        draw.text((left // 2, y + height // 2), label, fill="black", font=font, anchor="mm")
        for column, image in enumerate(images):
            canvas.paste(to_pil(image), (left + column * (width + _MARGIN), y))
    return canvas


def wrapped(text: str, font: Font, width: int) -> list[str]:
    """Break a text into lines at most ``width`` pixels wide, cut with "…" after a few of them.

    A word that is wider than a line is cut as well.
    """
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        elif len(lines) == _MOST_LINES:
            lines[-1] = _shortened(longer, font, width)
            break
        else:
            lines.append(_shortened(word, font, width))
    return lines


def _shortened(text: str, font: Font, width: int) -> str:
    """The text, or as much of its beginning as fits beside "…"."""
    if font.getlength(text) <= width:
        return text
    # By halves: texts without spaces, as Chinese ones are, may be long.
    lengths = range(len(text))
    fitting = bisect_right(lengths, width, key=lambda n: ceil(font.getlength(f"{text[:n]}…")))
    return f"{text[: max(fitting - 1, 0)]}…"
