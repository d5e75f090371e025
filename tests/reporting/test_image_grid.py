"""Labelled grids."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dit_accel.reporting.image_grid import image_grid, save_images, to_pil


def test_rows_and_columns_hold_the_pictures_unchanged() -> None:
    top, bottom = torch.rand(3, 3, 16, 20), torch.rand(3, 3, 16, 20)
    canvas = np.asarray(image_grid([("dense", top), ("plan", bottom)], ["a", "b", "c"]))
    for images in (top, bottom):
        for image in images:
            assert contains(canvas, np.asarray(to_pil(image)))


def contains(canvas: np.ndarray, picture: np.ndarray) -> bool:
    height, width = picture.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(canvas, (height, width, 3))[:, :, 0]
    corners = windows[..., 0, 0, :] == picture[0, 0]
    places = np.argwhere(corners.all(axis=-1))
    return any(np.array_equal(windows[y, x], picture) for y, x in places)


def test_files_are_named_by_index_and_exact(tmp_path: Path) -> None:
    images = torch.tensor([0.0, 1.0, 0.5])[:, None, None, None].expand(3, 3, 4, 4)
    save_images(images, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.png", "1.png", "2.png"]
    values = [np.asarray(Image.open(tmp_path / f"{index}.png")).mean() for index in range(3)]
    assert values == [0.0, 255.0, 128.0]
