"""``dit-accel train``: fit the learned parts of a plan to a frozen teacher."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def train(
    config: Annotated[Path, typer.Argument(help="YAML file, as in configs/adapt/.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value: path.to.key=value; repeat."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what is in the output folder.")
    ] = False,
) -> None:
    """Fit the learned parts of a plan, or parts of the model, to the same model run densely.

    The adapter comes to lie in OUTPUT/adapter, which is a plan: dit-accel generate --plan
    OUTPUT/adapter. Start several processes with accelerate launch -m dit_accel.cli train CONFIG.
    """
    from dit_accel.adaptation.command import run
    from dit_accel.adaptation.config import load_config
    from dit_accel.adaptation.prepare import prepare
    from dit_accel.adapters import load_adapter
    from dit_accel.cli.progress import phase_bar

    prepared = prepare(load_config(config, set_ or ()))
    # Of several processes, one speaks; accelerate is not asked yet which one this is.
    with phase_bar("train", shown=os.environ.get("RANK", "0") == "0") as report:
        path = run(prepared, report, resume)
    if path is None:
        return
    score = load_adapter(path).record.score
    before = f"{score['relative_error_untrained']:.2%} before"
    if "relative_error_calibrated" in score:
        before += f" and {score['relative_error_calibrated']:.2%} calibrated"
    Console().print(
        f"error of the outputs {score['relative_error']:.2%} of the teacher's, which was"
        f" {before}\nadapter: {path}",
        highlight=False,
        soft_wrap=True,
    )
