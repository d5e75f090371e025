"""``dit-accel report``: runs beside each other, as Markdown and as one self-contained page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN…", help="Run folders, or one folder of an evaluation."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of the report; that of a single RUN, or ./report, by default."),
    ] = None,
) -> None:
    """Show runs beside each other: scores, cost, fidelity against time, and the same seeds.

    Writes report.html (one file; no network, no script) and report.md with its pictures. Whatever
    is missing is named there, with the command that makes it.
    """
    from dit_accel.reporting.run_report.collect import read_report
    from dit_accel.reporting.run_report.write import write_report

    collected = read_report(runs)
    folder = output or (runs[0] if len(runs) == 1 else Path("report"))
    for path in write_report(collected, folder):
        Console().print(f"report: {path}", highlight=False, markup=False, soft_wrap=True)
