"""What prompt accuracy is for real crops, and what it is where prompts have no say.

Run ``python scripts/judge_real_crops.py``. It judges held-out crops, which nothing was trained on,
by captions that describe them, the same after the autoencoder of ``dit-photos`` and
``pixart-photos``, and by captions of other crops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import typer
from torch import Tensor

from dit_accel.extractors.ref import RefExtractor, load_ref
from dit_accel.reporting.bench_markdown import markdown_table
from dit_accel.resources import config_folder
from dit_accel.scoring.prompt_accuracy import ATTRIBUTES, Accuracy, judge
from dit_accel.training.captions import Description
from dit_accel.training.config import load_recipe
from dit_accel.training.ref_bank import to_bytes
from dit_accel.training.ref_scores import features_of, round_trip
from dit_accel.training.streams import Stream, training_crops
from dit_accel.training.text_conditioning import description_of


def main(
    count: Annotated[int, typer.Option(help="held-out crops, from the first on")] = 960,
) -> None:
    """Print a Markdown table: a row a set, a column an attribute, shares with their intervals."""
    recipe = load_recipe(config_folder("train") / "pixart_photos.yaml")
    source = training_crops(recipe, Stream.HELD_OUT)
    shown = [description_of(source, index) for index in range(count)]
    crops = to_bytes(source.batch(0, count, recipe.data.crop_size)[0])
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()
    ref = load_ref()
    table = {
        "real crops": _judged(ref, crops, shown),
        "the same, through the autoencoder": _judged(ref, round_trip(crops), shown),
        "real crops, captions shuffled": _judged(ref, crops, [shown[place] for place in order]),
    }
    rows = [[name, *map(_cell, found.values())] for name, found in table.items()]
    typer.echo(markdown_table([f"N = {count}", *ATTRIBUTES], rows))


def _judged(
    ref: RefExtractor, pictures: Tensor, descriptions: Sequence[Description]
) -> dict[str, Accuracy]:
    return judge(ref.heads(features_of(ref, pictures)), descriptions)


def _cell(found: Accuracy) -> str:
    return f"{found.share:.3f} ({found.interval.low:.3f} to {found.interval.high:.3f})"


if __name__ == "__main__":
    typer.run(main)
