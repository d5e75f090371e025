"""Leaves a report in a folder: page, Markdown, and the pictures that the Markdown shows."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dit_accel.reporting.image_grid import image_grid
from dit_accel.reporting.run_report.content import report_content
from dit_accel.reporting.run_report.markdown import markdown_report
from dit_accel.reporting.run_report.model import Report
from dit_accel.reporting.run_report.page import html_page, plot_svg
from dit_accel.reporting.run_report.seed_grids import SeedGrid
from dit_accel.runs import atomic_write

PAGE, MARKDOWN, GRID = "report.html", "report.md", "report_seeds.webp"
_GRID_QUALITY = 90
_GRID_SIDE = 128


def write_report(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write ``report.html``, ``report.md`` and the pictures of the latter; returns the first two.

    What lay there under these names is replaced; nothing else is touched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = report_content(report)
    pictures = {}
    for plot in content.plots:
        name = f"report_{plot.metric}.svg"
        _write(folder / name, plot_svg(plot.wide, "wide", standalone=True).encode("utf-8"))
        pictures[name] = f"{plot.wide.y_title}, against seconds an image"
    if content.grid is not None:
        _write(folder / GRID, _grid_picture(content.grid))
        pictures[GRID] = "The same seeds in every run, one row a run"
    _write(folder / MARKDOWN, markdown_report(content, pictures).encode("utf-8"))
    _write(folder / PAGE, html_page(content).encode("utf-8"))
    return folder / PAGE, folder / MARKDOWN


def _write(path: Path, data: bytes) -> None:
    with atomic_write(path) as stream:
        stream.write(data)


def _grid_picture(grid: SeedGrid) -> bytes:
    """The grid as one picture, every cell at most 128 pixels a side."""
    first = next((p for _, pictures in grid.rows for p in pictures if p is not None), None)
    height, width = (_GRID_SIDE, _GRID_SIDE) if first is None else first.shape[:2]
    scale = min(1.0, _GRID_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    rows = [(run.label, _row(pictures, size)) for run, pictures in grid.rows]
    stream = io.BytesIO()
    image_grid(rows, [column.caption for column in grid.columns]).save(
        stream, "WEBP", quality=_GRID_QUALITY, method=4
    )
    return stream.getvalue()


def _row(pictures: Sequence[np.ndarray | None], size: tuple[int, int]) -> torch.Tensor:
    """Pictures of one run as [B, 3, H, W] in [0, 1]; grey where one can't be read."""
    blank = np.full((size[1], size[0], 3), 128, np.uint8)
    cells = [
        blank
        if picture is None
        else np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
        for picture in pictures
    ]
    return torch.from_numpy(np.stack(cells)).permute(0, 3, 1, 2) / 255
