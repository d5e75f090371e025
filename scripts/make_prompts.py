"""Write the prompts that ship with the package: what 1,024 real crops show, one caption each.

Run ``python scripts/make_prompts.py configs/prompts/photos.txt``. Photographs, parts, nearness and
mirroring are as frequent among the prompts as among the crops of ``ref-photos``, but none of these
is itself described: FD-ref would be lower for a reason that no other prompts have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from dit_accel.scoring.photo_images import COUNT as REFERENCE_CROPS
from dit_accel.training.captions import caption
from dit_accel.training.reference_crops import reference_source
from dit_accel.training.text_conditioning import description_of

PROMPTS = 1024
_WORDING = 4  # of the numbers that `CropSource` and `CropBank` draw for a crop, 1 to 3 are taken


def prompts() -> list[str]:
    """A full caption of each crop after those of ``ref-photos``, always in the same words."""
    source = reference_source()
    return [
        caption(
            description_of(source, index), np.random.default_rng((*source.seed, index, _WORDING))
        )
        for index in range(REFERENCE_CROPS, REFERENCE_CROPS + PROMPTS)
    ]


def main(output: Annotated[Path, typer.Argument(help="text file")]) -> None:
    """Write one prompt a line."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("".join(f"{prompt}\n" for prompt in prompts()), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
