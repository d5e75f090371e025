"""Grids of pictures."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from torch import Tensor


def to_image(pixels: Tensor) -> Image.Image:
    """A ``[3, H, W]`` picture in [-1, 1] as an 8-bit RGB image."""
    levels = (pixels.clamp(-1, 1) * 127.5 + 127.5).round().byte()
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())


def save_grid(pictures: Tensor, path: Path, columns: int) -> None:
    """Tile ``[B, 3, H, W]`` pictures in [-1, 1], row by row, into one PNG."""
    height, width = pictures.shape[-2:]
    rows = -(-len(pictures) // columns)
    grid = Image.new("RGB", (columns * width, rows * height))
    for index, picture in enumerate(pictures):
        grid.paste(to_image(picture), (index % columns * width, index // columns * height))
    path.parent.mkdir(parents=True, exist_ok=True)
    grid.save(path)
