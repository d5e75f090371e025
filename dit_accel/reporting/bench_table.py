"""A benchmark in a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dit_accel.reporting import units


def bench_table(report: dict[str, Any]) -> RenderableType:
    """The figures that matter most, and one line a plan on what it is worth."""
    table = Table(title=report["settings"]["model"])
    table.add_column("candidate")
    for heading in ("loop, s", "images/s", "MACs", "speed-up", "efficiency", "PSNR to converged"):
        table.add_column(heading, justify="right")
    for row in report["rows"]:
        converged = row["to_converged"]
        table.add_row(
            row["name"],
            f"{row['median_s']:.3f} ± {row['iqr_s']:.3f}",
            f"{row['images_per_second_total']:.2f}",
            units.macs(row["macs"]),
            f"{row['speed_up']:.2f}×",
            f"{row['efficiency']:.2f}",
            "–" if converged is None else units.decibels(converged["psnr_db"]),
        )
    return Group(table, *(Text(_line(verdict)) for verdict in report["verdicts"]))


def _line(verdict: dict[str, Any]) -> str:
    if verdict["difference_db"] is None:
        return f"{verdict['name']}: faster than every dense run that was measured"
    return (
        f"{verdict['name']}: {verdict['difference_db']:+.2f} dB against dense with fewer steps "
        "at equal time"
    )
