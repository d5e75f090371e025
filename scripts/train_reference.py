"""Train a reference pipeline from its recipe, resuming whatever an earlier run left behind.

Run ``python scripts/train_reference.py configs/train/dit_photos.yaml``; run it again after a kill.

The transformer stage may be shared by several processes, which meet once per step; on a machine
that is busy otherwise this is faster than as many threads::

    torchrun --nproc-per-node 2 scripts/train_reference.py RECIPE --stage transformer
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dit_accel.errors import DitAccelError
from dit_accel.training.config import load_recipe
from dit_accel.training.stages import StageName, run_stage


def main(
    recipe: Annotated[Path, typer.Argument(help="a file of configs/train/")],
    stage: Annotated[StageName, typer.Option(help="one stage, or all in order")] = StageName.ALL,
    output: Annotated[Path | None, typer.Option(help="run folder, instead of the recipe's")] = None,
) -> None:
    """Run the recipe."""
    try:
        config = load_recipe(recipe)
        if output is not None:
            config = config.model_copy(update={"output": output})
        run_stage(stage, config)
    except DitAccelError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    typer.run(main)
