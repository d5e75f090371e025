"""``dit-accel export``: a run's images as one ADM ``.npz``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(help="Run folder that 'dit-accel sample' made.")],
    output: Annotated[Path, typer.Argument(metavar="OUT.npz", help="File to write.")],
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Leave out images that are missing.")
    ] = False,
) -> None:
    """Write a run's images, in the order of their indices, as arr_0 of an uncompressed .npz.

    The form that ADM's evaluator reads: uint8 [N, H, W, 3], with the labels as arr_1.
    """
    from dit_accel.runs.adm import export_adm
    from dit_accel.runs.folder import RunFolder

    count = export_adm(RunFolder.read(run), output, allow_partial=allow_partial)
    typer.echo(f"{output}: {count} images")
