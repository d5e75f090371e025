"""``dit-accel generate``: a few images now, dense beside accelerated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def generate(
    config: Annotated[
        Path | None, typer.Argument(help="YAML file; the packaged quick start by default.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one value, as in seed=7; repeat."),
    ] = None,
    plan: Annotated[
        str | None, typer.Option(help="Preset's name or YAML path, in place of the config's.")
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="Text in place of the config's; repeat for several pictures."),
    ] = None,
) -> None:
    """Make a few images with and without a plan, and measure time, MACs and fidelity.

    Leaves grid.png (dense above accelerated, same seeds), images/ and report.json in the config's
    output folder, and prints dense | plan | dense with fewer steps at the plan's cost.
    """
    from dit_accel.cli.progress import progress_bar
    from dit_accel.reporting.comparison import comparison_table, save_comparison
    from dit_accel.sampling.comparison import compare, prepare
    from dit_accel.sampling.generate_config import load_generate_config

    changes = list(assignments or ())
    if plan is not None:
        changes.append(f"plan={plan}")
    prepared = prepare(load_generate_config(config, changes, prompt or ()))
    with progress_bar("generating", prepared.total_runs) as advance:
        comparison = compare(prepared, advance, _warn)
    folder = Path(prepared.config.output)
    save_comparison(comparison, folder)
    console = Console()
    console.print(comparison_table(comparison))
    console.print(f"pictures and report: {folder}", highlight=False)


def _warn(text: str) -> None:
    # Not another console: a bar is being drawn, which gives way to what goes to sys.stderr.
    typer.secho(f"warning: {text}", fg="yellow", err=True)
