"""``dit-accel evaluate``: a list of runs sampled, scored, timed and reported by one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def evaluate(
    config: Annotated[Path, typer.Argument(help="YAML file, as configs/eval/dit_photos.yaml.")],
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change one value, as in num_samples=5000."
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder of the report; OUTPUT/report by default.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Sample as rank I of N; rank 0 does the rest."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Plain lines instead of bars.")] = False,
) -> None:
    """Sample every run from the same seeds, score it, time all of them, and write the report.

    Each part goes on where it was stopped: give the same command again. Under torchrun or Slurm all
    ranks sample; rank 0 scores, times and reports once every set is complete.
    """
    from dit_accel.cli.options import command_line
    from dit_accel.cli.progress import progress_bar, quiet_diffusers
    from dit_accel.cli.sample import set_display
    from dit_accel.evaluation.config import load_evaluation
    from dit_accel.evaluation.evaluate import (
        prepare_evaluation,
        sample_runs,
        save_results,
        score_runs,
        time_runs,
    )
    from dit_accel.reporting.run_report.collect import read_report
    from dit_accel.reporting.run_report.write import write_report
    from dit_accel.sampling.ranks.shard import current_shard

    quiet_diffusers()
    place = current_shard(shard)
    again = command_line("evaluate", config, assignments or (), report)
    evaluation = prepare_evaluation(*load_evaluation(config, assignments or ()), command=again)
    progress = sample_runs(evaluation, place, display=set_display(place, quiet))
    if progress.exit_code:
        typer.echo(f"stopped; resume with: {again}", err=True)
        raise typer.Exit(progress.exit_code)
    if place.rank != 0:
        return
    score_runs(evaluation)
    total = len(evaluation.runs) * (evaluation.config.rounds + 1)
    with progress_bar("timing", total) as advance:
        time_runs(evaluation, place.device, advance)
    folder = report or evaluation.folder
    pages = write_report(read_report([evaluation.folder]), folder)
    for path in (*pages, save_results(evaluation, folder)):
        Console().print(f"report: {path}", highlight=False, markup=False, soft_wrap=True)
