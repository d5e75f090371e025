"""The typer application: its commands, and how errors reach the reader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from dit_accel.cli.bench import bench
from dit_accel.cli.calibrate import calibrate
from dit_accel.cli.evaluate import evaluate
from dit_accel.cli.explain import explain
from dit_accel.cli.export import export
from dit_accel.cli.frontier import frontier
from dit_accel.cli.generate import generate
from dit_accel.cli.plans import plans
from dit_accel.cli.reference import reference
from dit_accel.cli.report import report
from dit_accel.cli.sample import sample
from dit_accel.cli.score import score
from dit_accel.cli.train import train
from dit_accel.errors import DitAccelError


class _Commands(TyperGroup):
    """Prints what this package refuses on purpose as one message; defects keep their traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except DitAccelError as error:
            Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
            raise typer.Exit(2) from None


app = typer.Typer(
    name="dit-accel",
    cls=_Commands,
    help="Faster diffusion transformers: see what a plan does, costs and keeps, and prove it.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    add_completion=False,
)
_COMMANDS: tuple[Callable[..., None], ...] = (
    generate,
    explain,
    bench,
    calibrate,
    train,
    plans,
    sample,
    reference,
    score,
    report,
    evaluate,
    frontier,
    export,
)
for command in _COMMANDS:
    app.command()(command)


def main() -> None:
    """Entry point of ``dit-accel``."""
    app()
