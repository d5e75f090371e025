"""``dit-accel calibrate``: fit a cache to a model, its solver and its number of steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def calibrate(
    model: Annotated[str, typer.Argument(help="Shipped name, or a diffusers pipeline folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the plan.")],
    speedup: Annotated[float, typer.Option(help="Dense MACs divided by the plan's, such as 2.")],
    scheduler: Annotated[str, typer.Option(help="Solver.")] = "DDIM",
    steps: Annotated[int, typer.Option(help="Steps of the solver, computed or not.")] = 50,
    guidance: Annotated[float, typer.Option(help="Scale; 1 is no guidance.")] = 4.0,
    seeds: Annotated[int, typer.Option(help="Trajectories, from the seeds 0, 1, ….")] = 16,
    label: Annotated[
        list[str] | None, typer.Option(help="Class by name or number; repeat. Drawn by default.")
    ] = None,
    prompt: Annotated[
        list[str] | None, typer.Option(help="Text, or a file with one text a line; repeat texts.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    target: Annotated[
        str, typer.Option(help="Come near to the converged trajectory, or to the dense run.")
    ] = "converged",
    batch: Annotated[int, typer.Option(help="Trajectories at a time.")] = 8,
) -> None:
    """Run a few trajectories, and write the plan that comes nearest to them at a speed-up.

    The folder is a plan: dit-accel generate --plan OUT, dit_accel.accelerate(pipe, "OUT"). It is
    refused for another model, solver, number of steps or guidance than these.
    """
    from dit_accel.calibration.command import prepare, run
    from dit_accel.cli.progress import phase_bar

    settings = {
        "model": model,
        "scheduler": scheduler,
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "num_samples": seeds,
        "dtype": dtype,
        "batch_size": batch,
    }
    prepared = prepare(settings, speedup, out, label or (), prompt or (), target)
    with phase_bar("calibrating", shown=True) as report:
        plan = run(prepared, report)
    console = Console()
    assert plan.calibration is not None and plan.calibration.expected is not None
    expected = plan.calibration.expected
    console.print(
        f"{expected.speedup_macs:.2f} times fewer MACs, {expected.speedup:.2f} times as fast here;"
        f" final latents within {expected.latent_error:.2%} of the"
        f" {plan.calibration.target} run's",
        highlight=False,
    )
    console.print(f"plan: {out}", highlight=False)
