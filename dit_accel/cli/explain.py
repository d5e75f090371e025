"""``dit-accel explain``: what a plan will do and cost, before anything runs."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dit_accel.cli.options import load_plan


def explain(
    model: Annotated[
        str,
        typer.Option(help="Shipped name, diffusers pipeline folder, or transformer config.json."),
    ] = "dit-photos",
    plan: Annotated[
        str | None, typer.Option(help="Preset's name or YAML path; dense if left out.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps.")] = 20,
    height: Annotated[
        int | None, typer.Option(min=1, help="Image height, pixels; the model's own by default.")
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="Image width, pixels; the model's own by default.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images a run.")] = 1,
    text_tokens: Annotated[
        int | None,
        typer.Option(
            min=1, help="Text tokens a row (PixArt); by default, what prompts are padded to."
        ),
    ] = None,
    guidance: Annotated[
        bool, typer.Option(help="Whether every image has a second, unconditional row.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the grid.")] = False,
    png: Annotated[Path | None, typer.Option(help="Also draw the grid into this file.")] = None,
) -> None:
    """Show the step × layer grid, MACs and cache memory of a plan; no weights are needed.

    Works on the meta device, for any model size. MACs count one multiply-add each, attention
    matrix products included.
    """
    from dit_accel.errors import DitAccelError, mismatch
    from dit_accel.measure.architectures import load_architecture
    from dit_accel.measure.explain import explain as resolve
    from dit_accel.measure.plan_macs import Workload
    from dit_accel.reporting.explain_table import explain_table
    from dit_accel.reporting.step_grid import save_grid_png, terminal_grid

    loaded = load_plan(plan)
    architecture = load_architecture(model)
    if text_tokens is not None and not architecture.is_text_conditional:
        expected = f"none, because {architecture.name} reads no text"
        raise DitAccelError("text_tokens: " + mismatch(text_tokens, expected, "leave it out"))
    workload = Workload(
        num_steps=steps,
        batch=batch,
        guided=guidance,
        latent_size=architecture.latent_size(height, width),
        text_tokens=text_tokens or architecture.default_text_tokens,
    )
    explanation = resolve(architecture, loaded, workload)
    if png is not None:
        save_grid_png(explanation, png)
    if json:
        typer.echo(json_module.dumps(explanation.to_dict(), indent=2))
        return
    console = Console()
    console.print(explain_table(explanation))
    console.print()
    console.print(terminal_grid(explanation))
