"""Labelled grids."""

from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFont

from dit_accel.reporting.image_grid import image_grid, save_images, to_pil, wrapped


def test_rows_and_columns_hold_the_pictures_unchanged() -> None:
    top, bottom = torch.rand(3, 3, 16, 20), torch.rand(3, 3, 16, 20)
    canvas = np.asarray(image_grid([("dense", top), ("plan", bottom)], ["a", "b", "c"]))
    for images in (top, bottom):
        for image in images:
            assert contains(canvas, np.asarray(to_pil(image)))


@given(st.text(max_size=200), st.integers(40, 300))
def test_long_captions_are_broken_and_cut_but_never_wider(text: str, width: int) -> None:
    font = ImageFont.load_default(14)
    lines = wrapped(text, font, width)
    assert len(lines) <= 4 and all(font.getlength(line) <= width for line in lines)
    if not any("…" in line for line in lines):
        assert " ".join(lines).split() == text.split()


def test_captions_leave_the_pictures_alone() -> None:
    pictures = torch.rand(3, 3, 48, 48)
    grid = image_grid([("dense", pictures)], ["", "of the whole astronaut " * 9, "🚀\n月" * 30])
    canvas = np.asarray(grid)
    assert all(contains(canvas, np.asarray(to_pil(picture))) for picture in pictures)


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


def test_a_long_text_without_spaces_takes_no_time() -> None:
    font = ImageFont.load_default(14)
    [line] = wrapped("月" * 20_000, font, 128)
    assert line.endswith("…") and font.getlength(line) <= 128 < font.getlength(f"月{line}")
