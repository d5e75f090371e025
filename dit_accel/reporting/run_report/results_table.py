"""The table of runs: what each is, what it cost, and every score."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dit_accel.reporting import units
from dit_accel.reporting.run_report import figures
from dit_accel.reporting.run_report.model import Report, Run, macs_ratio, speed_up
from dit_accel.reporting.run_report.scores import Score, comparable, tied

Mark = Literal["", "best", "tie"]
SET = "image set"
NOT_COMPARABLE = "throughput while sampling, not comparable"


@dataclass(frozen=True)
class Cell:
    """One figure.

    Attributes:
        text: the figure.
        detail: its interval or spread.
        mark: best of its column, or as good within the intervals.
        note: what has to be known before it is believed, such as a partial set.
    """

    text: str
    detail: str = ""
    mark: Mark = ""
    note: str = ""


@dataclass(frozen=True)
class TableColumn:
    """A heading with its cells, one a run.

    Attributes:
        group: heading of the columns that belong together.
        better: ``↑``, ``↓`` or nothing.
    """

    group: str
    title: str
    better: Literal["", "↑", "↓"]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class ResultsTable:
    """Columns of a table whose rows are the runs."""

    runs: tuple[Run, ...]
    columns: tuple[TableColumn, ...]

    @property
    def groups(self) -> list[tuple[str, list[TableColumn]]]:
        """Neighbouring columns of one group."""
        found: list[tuple[str, list[TableColumn]]] = []
        for column in self.columns:
            if not found or found[-1][0] != column.group:
                found.append((column.group, []))
            found[-1][1].append(column)
        return found

    def without(self, *titles: str) -> ResultsTable:
        """The same table without columns that the reader is told of elsewhere."""
        return ResultsTable(self.runs, tuple(c for c in self.columns if c.title not in titles))


def results_table(report: Report) -> ResultsTable:
    """Settings, cost and scores of all runs; columns that no run has a figure for are left out."""
    columns = [*_settings(report), *_cost(report), *_scores(report)]
    filled = [column for column in columns if any(cell.text != "–" for cell in column.cells)]
    return ResultsTable(report.runs, tuple(filled))


def _settings(report: Report) -> list[TableColumn]:
    return [
        _plain(report, "method", lambda run: Cell(run.method)),
        _plain(report, "solver × steps", lambda run: Cell(_solver(run))),
        _plain(report, "N", _count),
    ]


def _plain(report: Report, title: str, cell: Callable[[Run], Cell]) -> TableColumn:
    return TableColumn(SET, title, "", tuple(cell(run) for run in report.runs))


def _solver(run: Run) -> str:
    return f"{run.scheduler} × {run.num_steps}"


def _count(run: Run) -> Cell:
    note = "" if run.is_complete else f"partial, of {run.num_samples}"
    return Cell(str(run.num_images), note=note)


def _cost(report: Report) -> list[TableColumn]:
    runs = report.runs
    times = [None if run.latency is None else run.latency.seconds for run in runs]
    spreads = [0.0 if run.latency is None else run.latency.spread / 2 for run in runs]
    marks = _marks(times, spreads)
    latency = [_latency_cell(run, mark) for run, mark in zip(runs, marks, strict=True)]
    faster = [
        Cell(figures.ratio(speed_up(report.common_start, run)), mark=mark)
        for run, mark in zip(runs, marks, strict=True)
    ]
    memory = _cheapest(
        [None if run.memory is None else run.memory.bytes for run in runs], units.memory
    )
    return [
        TableColumn("cost", "time an image", "↓", tuple(latency)),
        TableColumn("cost", "speed-up", "↑", tuple(faster)),
        TableColumn("cost", "MACs an image", "↓", tuple(_macs_cells(report))),
        TableColumn("cost", "peak memory", "↓", tuple(memory)),
    ]


def _macs_cells(report: Report) -> list[Cell]:
    cells = _cheapest(
        [None if run.macs is None else run.macs.upper for run in report.runs], units.macs
    )
    return [
        replace(
            cell,
            detail=""
            if (fewer := macs_ratio(report.common_start, run)) is None
            else f"÷ {fewer:.2f}",
            note="at most" if run.macs and run.macs.lower < run.macs.upper else "",
        )
        for run, cell in zip(report.runs, cells, strict=True)
    ]


def _latency_cell(run: Run, mark: Mark) -> Cell:
    if run.latency is not None:
        text = figures.seconds(run.latency.seconds)
        return Cell(text, f"IQR {figures.seconds(run.latency.spread, 2)}", mark)
    if run.speed is not None:
        return Cell(figures.seconds(run.speed.total.image_seconds_median), note=NOT_COMPARABLE)
    return Cell("–")


def _cheapest(values: Sequence[float | None], text: Callable[[float], str]) -> list[Cell]:
    marks = _marks(values, [0.0] * len(values))
    return [
        Cell("–") if value is None else Cell(text(value), mark=mark)
        for value, mark in zip(values, marks, strict=True)
    ]


def _marks(values: Sequence[float | None], half_widths: Sequence[float]) -> list[Mark]:
    """The smallest value is best, and those within both half widths of it are ties."""
    known = [
        (value, width)
        for value, width in zip(values, half_widths, strict=True)
        if value is not None
    ]
    if len(known) < 2 or len({value for value, _ in known}) < 2:
        return [""] * len(values)
    best, width = min(known)
    return [
        ""
        if value is None
        else "best"
        if value == best
        else "tie"
        if value - best <= width + own
        else ""
        for value, own in zip(values, half_widths, strict=True)
    ]


def _scores(report: Report) -> list[TableColumn]:
    likes: dict[object, Score] = {}
    for score in (score for run in report.runs for score in run.scores):
        likes.setdefault(score.column, score)
    ordered = sorted(
        likes.values(), key=lambda score: (score.is_paired, score.column.reference or "")
    )
    return [_score_column(report, like) for like in ordered]


def _score_column(report: Report, like: Score) -> TableColumn:
    found = [run.score(like) for run in report.runs]
    rivals = _rivals([score for score in found if score is not None])
    best = max(rivals, key=lambda score: score.quality, default=None)
    places = figures.decimals(rivals)
    cells = tuple(
        Cell("–") if score is None else _score_cell(score, best, places, like.n) for score in found
    )
    arrow: Literal["↑", "↓"] = "↑" if like.higher_is_better else "↓"
    return TableColumn(_group(report, like), like.title, arrow, cells)


def _rivals(scores: Sequence[Score]) -> list[Score]:
    """Those that may be compared, of the N that most of them have."""
    whole = [score for score in scores if score.is_rival and math.isfinite(score.value)]
    sizes = [score.n for score in whole]
    common = max(set(sizes), key=lambda n: (sizes.count(n), n), default=0)
    rivals = [score for score in whole if score.n == common]
    return rivals if len(rivals) > 1 else []


def _score_cell(score: Score, best: Score | None, places: int, heading: int) -> Cell:
    mark: Mark = ""
    if best is not None and comparable(score, best):
        mark = "best" if score.value == best.value else "tie" if tied(score, best) else ""
    notes = [f"N = {score.n}"] if score.n != heading else []
    notes += [] if score.record.complete else ["partial"]
    notes += ["forced"] if score.record.forced else []
    identical = score.record.settings.get("identical", score.n)
    notes += [f"{identical} of {score.n} identical"] if identical < score.n else []
    asked = score.n if score.prompts is None else score.prompts
    notes += [f"asked of {asked} of {score.n}"] if asked < score.n else []
    text = figures.value(score.value, places or figures.decimals([score]))
    return Cell(text, figures.interval(score, places), mark, ", ".join(notes))


def _group(report: Report, like: Score) -> str:
    size = f", N = {like.n}"
    if like.is_paired:
        base = like.record.baseline or {}
        named = [run.label for run in report.runs if run.fingerprint == base.get("fingerprint")]
        return f"against {named[0] if named else base.get('path', 'dense')} on the same seeds{size}"
    if like.column.reference:
        return f"against {like.column.reference}{size}"
    if like.prompts is not None:
        return f"against the prompts{size}"
    return f"the pictures alone{size}"
