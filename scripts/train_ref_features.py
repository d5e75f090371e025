"""Train the feature network `ref` from its recipe, resuming what an earlier run left behind.

Run ``python scripts/train_ref_features.py configs/train/ref_features.yaml``; run it again after a
kill. At the end it is scored, described and published, and the reference of real crops is
remade with it, which takes some minutes more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from accelerate import Accelerator

from dit_accel.extractors.ref import MODEL_FILE, read_extractor
from dit_accel.scoring.photo_images import PhotoImages
from dit_accel.scoring.reference import make_reference
from dit_accel.training.ref_card import publish
from dit_accel.training.ref_config import load_ref_config
from dit_accel.training.ref_features import RefStage

REFERENCE_FILE = "photos-128.npz"


def main(
    recipe: Annotated[Path, typer.Argument(help="a file of configs/train/")],
    output: Annotated[Path | None, typer.Option(help="run folder, instead of the recipe's")] = None,
) -> None:
    """Train, score, publish, and remake the reference."""
    config = load_ref_config(recipe)
    if output is not None:
        config = config.model_copy(update={"output": output})
    RefStage(config, Accelerator(mixed_precision=config.mixed_precision)).run()
    publish(config)
    extractor = read_extractor(config.publish / MODEL_FILE)
    make_reference(PhotoImages(), extractor, config.publish / REFERENCE_FILE)


if __name__ == "__main__":
    typer.run(main)
