"""How fast the images were made, rank by rank and in all."""

from __future__ import annotations

from dit_accel.reporting.run_report.model import Report
from dit_accel.runs.throughput import RankSpeed

THROUGHPUT_COLUMNS = (
    "run",
    "rank",
    "images",
    "images/s",
    "batches",
    "seconds a batch (IQR)",
    "seconds in all",
)


def throughput_rows(report: Report) -> list[list[str]]:
    """One line a rank; and one for all of them, where a run had several."""
    rows = []
    for run in report.runs:
        if run.speed is None:
            continue
        ranks = run.speed.ranks
        named = [(str(rank), speed) for rank, speed in ranks.items()] if len(ranks) > 1 else []
        for name, speed in (*named, ("all" if named else str(next(iter(ranks))), run.speed.total)):
            rows.append([run.label, name, *_cells(speed)])
    return rows


def _cells(speed: RankSpeed) -> list[str]:
    return [
        str(speed.images),
        f"{speed.images_per_second:.3g}",
        str(speed.batches),
        f"{speed.batch_seconds_median:.3g} ({speed.batch_seconds_iqr:.2g})",
        f"{speed.wall_seconds:.1f}",
    ]
