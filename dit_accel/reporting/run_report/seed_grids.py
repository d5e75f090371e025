"""The same seeds in every run: one row a run, one column a seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dit_accel.reporting.run_report.model import Report, Run
from dit_accel.reporting.run_report.thumbnails import Thumbnail, thumbnail
from dit_accel.runs import ImageRecord, RunFolder, UnreadableImage, read_image

COLUMNS = 8
# Of all pictures together, so that the page stays below 6 MB (base64 adds a third).
_BUDGET = 3_000_000
_LONGEST_CAPTION = 80


@dataclass(frozen=True)
class Column:
    """One image of the set: its index, its seed, and the class or prompt it was made for."""

    index: int
    seed: int
    caption: str

    @property
    def short(self) -> str:
        """The caption, cut to fit above a picture."""
        text = " ".join(self.caption.split())
        return text if len(text) <= _LONGEST_CAPTION else text[: _LONGEST_CAPTION - 1] + "…"


@dataclass(frozen=True)
class SeedGrid:
    """Pictures [run][column], uint8 [H, W, 3]; ``None`` where one can't be read."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Run, tuple[np.ndarray | None, ...]], ...]
    left_out: tuple[Run, ...]


def seed_grid(report: Report, labels: Mapping[int, str], columns: int = COLUMNS) -> SeedGrid | None:
    """Read the pictures that all runs have in common, spread over classes or prompts.

    Args:
        report: its runs; those whose images have other seeds or conditions are left out.
        labels: class names by number.
        columns: pictures a run, at most.

    Returns:
        ``None`` if no two runs share an image and no run has any.
    """
    runs = _baseline_first(report)
    leader = next((run for run in runs if run.records), None)
    if leader is None:
        return None
    sharing = [run for run in runs if _shared(leader, run)]
    common = set.intersection(*(_shared(leader, run) for run in sharing))
    chosen = spread([leader.records[index] for index in sorted(common)], columns)
    left_out = tuple(run for run in runs if run not in sharing)
    rows = tuple((run, tuple(_read(run, record.index) for record in chosen)) for run in sharing)
    return SeedGrid(tuple(_column(record, labels) for record in chosen), rows, left_out)


def _baseline_first(report: Report) -> list[Run]:
    return sorted(report.runs, key=lambda run: (run is not report.baseline, not run.is_dense))


def _shared(leader: Run, run: Run) -> set[int]:
    """Indices that both runs made from one seed and condition."""
    return {
        index
        for index, record in run.records.items()
        if index in leader.records and _origin(record) == _origin(leader.records[index])
    }


def _origin(record: ImageRecord) -> tuple[int, int | None, str | None]:
    return record.seed, record.class_label, record.prompt


def spread(records: Sequence[ImageRecord], count: int) -> list[ImageRecord]:
    """``count`` of the records from as many conditions as possible, evenly, in their order."""
    seen: Counter[object] = Counter()
    rounds: list[list[ImageRecord]] = []
    for record in records:
        condition = record.prompt if record.class_label is None else record.class_label
        if seen[condition] == len(rounds):
            rounds.append([])
        rounds[seen[condition]].append(record)
        seen[condition] += 1
    chosen: list[ImageRecord] = []
    for candidates in rounds:
        room = min(count - len(chosen), len(candidates))
        chosen += [candidates[k * len(candidates) // room] for k in range(room)]
    return sorted(chosen, key=lambda record: record.index)


def _read(run: Run, index: int) -> np.ndarray | None:
    try:
        return read_image(RunFolder.read(run.path), run.records[index])
    except UnreadableImage:
        return None


def _column(record: ImageRecord, labels: Mapping[int, str]) -> Column:
    if record.class_label is None:
        return Column(record.index, record.seed, record.prompt or "")
    caption = labels.get(record.class_label, f"class {record.class_label}")
    return Column(record.index, record.seed, caption)


def thumbnails(grid: SeedGrid) -> list[tuple[Run, list[Thumbnail | None]]]:
    """Every picture of the grid as a part of the page, all together within its budget."""
    count = max(1, len(grid.rows) * len(grid.columns))
    return [
        (run, [None if p is None else thumbnail(p, _BUDGET // count) for p in pictures])
        for run, pictures in grid.rows
    ]
