"""``dit-accel frontier``: plans and other people's caches beside dense with fewer steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def frontier(
    config: Annotated[
        Path, typer.Argument(help="YAML file, as configs/eval/caching_dit_photos.yaml.")
    ],
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change one value, as in report_seeds.count=8."
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder of the report; OUTPUT/report by default.")
    ] = None,
    select: Annotated[
        bool, typer.Option("--select", help="On the seeds that plans are chosen on.")
    ] = False,
) -> None:
    """Measure time against fidelity in one interleaved run, and say which rows earn their place.

    Dense with three solvers and fewer steps, plans, diffusers' caches and cache-dit: all with the
    exact rewrites on. Goes on where it was stopped: give the same command again. Leaves
    frontier.json, frontier.md and frontier.png.
    """
    from dit_accel.cli.options import command_line
    from dit_accel.cli.progress import phase_bar, progress_bar, quiet_diffusers
    from dit_accel.evaluation.frontier.config import load_frontier
    from dit_accel.evaluation.frontier.document import finished_frontier, frontier_document
    from dit_accel.evaluation.frontier.fitted_plans import fit_missing, missing_plans
    from dit_accel.evaluation.frontier.measure import FrontierRun
    from dit_accel.evaluation.frontier.prepare import prepare_frontier
    from dit_accel.reporting.frontier_report import save_frontier

    quiet_diffusers()
    flags = ["--select"] if select else []
    command = command_line("frontier", config, assignments or (), report, *flags)
    settings = load_frontier(config, assignments or ())
    prepare_frontier(settings, selecting=select)
    if missing_plans(settings):
        selection = prepare_frontier(settings, selecting=True)
        with phase_bar("calibrating", shown=True) as report_phase:
            fit_missing(selection, report_phase)
    prepared = prepare_frontier(settings, selecting=select, command=command)
    run = FrontierRun(prepared)
    with progress_bar("measuring", run.total) as advance:
        run.measure(advance)
    folder = report or prepared.folder / "report"
    for path in save_frontier(frontier_document(finished_frontier(run)), folder):
        Console().print(f"report: {path}", highlight=False, markup=False, soft_wrap=True)
