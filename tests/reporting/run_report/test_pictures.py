"""Pictures in a report: thumbnails, the choice of seeds, and the step × layer drawing."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image
from report_runs import picture

from dit_accel.reporting.run_report.model import Report
from dit_accel.reporting.run_report.plan_pictures import plan_picture
from dit_accel.reporting.run_report.seed_grids import seed_grid, spread
from dit_accel.reporting.run_report.thumbnails import Thumbnail, thumbnail
from dit_accel.runs import ImageRecord


def decoded(found: Thumbnail) -> np.ndarray:
    data = base64.b64decode(found.uri.removeprefix("data:image/webp;base64,"))
    with Image.open(io.BytesIO(data)) as opened:
        return np.asarray(opened.convert("RGB"))


def test_small_pictures_keep_every_pixel() -> None:
    pixels = picture(1, 64)
    found = thumbnail(pixels, 100_000)
    assert found.exact and np.array_equal(decoded(found), pixels)


def test_large_pictures_shrink_until_they_fit() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 600, 3), dtype=np.uint8)
    found = thumbnail(noise, 4000)
    assert not found.exact and len(found.uri) < 4000 * 4 / 3 + 40
    assert decoded(found).shape[:2] == (found.height, found.width)
    assert found.width == 2 * found.height


def record(index: int, label: int) -> ImageRecord:
    return ImageRecord(index, index, label, None, "", None, "", 0, "", 0, "", 1, 1.0, 0.0)


def test_seeds_are_spread_over_the_classes() -> None:
    many = [record(index, index // 10) for index in range(150)]
    assert [found.class_label for found in spread(many, 5)] == [0, 3, 6, 9, 12]
    few = [record(index, index % 2) for index in range(10)]
    assert [found.index for found in spread(few, 5)] == [0, 1, 2, 3, 4]
    assert len(spread(few[:3], 8)) == 3


def test_rows_share_their_seeds_and_others_are_left_out(untidy_report: Report) -> None:
    grid = seed_grid(untidy_report, {})
    assert grid is not None
    assert [run.name for run, _ in grid.rows] == ["dense run", "half made", "unscored <b>"]
    assert [run.name for run in grid.left_out] == ["other seeds"]
    assert all(column.index < 7 for column in grid.columns), "those of the half-made run"
    assert max(len(column.short) for column in grid.columns) <= 80


def test_a_damaged_picture_leaves_a_hole(tidy_report: Report) -> None:
    run = tidy_report.runs[1]
    first = next(iter(run.records.values()))
    path = run.path / first.file
    data = path.read_bytes()
    try:
        path.write_bytes(data[: len(data) // 2])
        grid = seed_grid(tidy_report, {})
    finally:
        path.write_bytes(data)
    assert grid is not None
    holes = [run.name for run, row in grid.rows for found in row if found is None]
    assert holes == ["dense_25"]


def test_plan_picture_covers_every_cell_once(tidy_report: Report) -> None:
    run = tidy_report.runs[-1]
    assert run.explanation is not None
    drawn = plan_picture(run, run.explanation)
    assert [kind.name for kind in drawn.kinds][:2] == ["dense", "forecast"]
    area = {
        kind.name: sum(int(height) for height in re.findall(r"h1v(\d+)h-1z", kind.path))
        for kind in drawn.kinds
    }
    assert area == {kind.name: kind.cells for kind in drawn.kinds}
    assert sum(area.values()) == drawn.num_steps * drawn.num_layers
