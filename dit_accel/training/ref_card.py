"""Publishes the ``ref`` features: weights, and a card whose every number was measured."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from dit_accel.extractors.ref import MODEL_FILE, read_extractor
from dit_accel.measure.provenance import provenance
from dit_accel.reporting.bench_markdown import markdown_table

from .card_parts import Training
from .degradations import DEGRADATIONS
from .photos import PHOTOS, CropSource, load_photos
from .ref_config import RefConfig
from .ref_heads import head_scores
from .ref_scores import eigenvalue_ratio, fd_ref, features_of, response_table
from .reference_crops import photo_crops
from .streams import Stream

_SETS = 8  # undisturbed sets whose scores show the noise of sampling

_TEMPLATE = """\
---
license: cc-by-2.0
pipeline_tag: image-feature-extraction
---

# ref-features

The feature network of the extractor `ref`: {parameters:.2f} M parameters and {features} features,
made for judging samples of `dit-photos` offline and from a few hundred pictures. Distances in its
features are called FD-ref, KID-ref and so on; they say nothing about FID, and nothing about
pictures other than crops of the {photographs} photographs below.

SHA-256 of `{file}`: `{sha256}`

From its features it was trained to say which photograph a crop is of, where the crop lies, whether
it is mirrored, and which of {kinds} kinds of damage it suffered and how much: a network that only
names photographs learns to overlook blur and noise, and a distance in its features would too.
The features have mean 0 and standard deviation 1 over real crops.

## What the heads get right

{held_out} undamaged crops that nothing was trained on.

{heads}

## What FD-ref answers

Against {reference} real crops (index 0 on of `training.reference_crops.photo_crops`).

{sampling}

Every row: the same {scored} real crops, changed in one way. Where a family of rows hardly grows
with the damage, FD-ref hardly sees it; the paired metrics, which compare pixels, do.

{responses}

Smallest over largest eigenvalue of the features' covariance: {ratio:.1e}.

## Training

{training}

Reproduce with `python scripts/train_ref_features.py configs/train/ref_features.yaml`.

```json
{provenance}
```

## Data and licences

Random square crops (side {low:g} to {high:g} of the short side) and mirror images of photographs
that ship inside the scikit-image and scikit-learn wheels.

{photos}
"""


def publish(config: RefConfig) -> None:
    """Measure the trained network and write it and its card into the published folder."""
    weights = config.output / MODEL_FILE
    scores = measure(config, weights)
    config.publish.mkdir(parents=True, exist_ok=True)
    card = config.output / "README.md"
    card.write_text(render_card(config, weights, scores))
    for source in (weights, card):
        partial = config.publish / f"{source.name}.partial"
        shutil.copyfile(source, partial)
        os.replace(partial, config.publish / source.name)


def measure(config: RefConfig, weights: Path) -> dict[str, Any]:
    """Everything in the card that takes the network: FD-ref of real, repeated and changed sets."""
    extractor = read_extractor(weights)
    count, size = config.scored_crops, config.data.crop_size
    total = config.reference_crops + _SETS * count
    features = torch.cat(
        [features_of(extractor, pictures) for pictures in photo_crops(total, size)]
    )
    reference, rest = features[: config.reference_crops], features[config.reference_crops :]
    halves = rest.chunk(2)
    held_out = CropSource(load_photos(), (config.seed, Stream.HELD_OUT), config.data.scale)
    return {
        "parameters": sum(value.numel() for value in extractor.network.parameters()),
        "heads": head_scores(
            extractor.network, held_out, config.data.held_out_per_class * len(PHOTOS)
        ),
        "sets": [fd_ref(part, reference) for part in rest.chunk(_SETS)],
        "all_sets": fd_ref(rest, reference),
        "halves": fd_ref(*halves),
        "ratio": eigenvalue_ratio(reference),
        "responses": response_table(
            extractor, reference, count, size, start=config.reference_crops
        ),
    }


def render_card(config: RefConfig, weights: Path, scores: dict[str, Any]) -> str:
    """The text of ``README.md``."""
    return _TEMPLATE.format(
        parameters=scores["parameters"] / 1e6,
        features=config.network.features,
        photographs=len(PHOTOS),
        file=MODEL_FILE,
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        kinds=len(DEGRADATIONS),
        held_out=config.data.held_out_per_class * len(PHOTOS),
        heads=markdown_table(["measure", "value"], _head_rows(scores["heads"])),
        reference=config.reference_crops,
        scored=config.scored_crops,
        sampling=markdown_table(
            ["real crops against real crops", "FD-ref"], _noise(config, scores)
        ),
        responses=markdown_table(["change", "FD-ref"], _responses(scores)),
        ratio=scores["ratio"],
        training=markdown_table(["", ""], _training_rows(config)),
        provenance=json.dumps(provenance(), indent=2),
        low=config.data.scale[0],
        high=config.data.scale[1],
        photos=_photo_table(),
    )


def _head_rows(heads: dict[str, float]) -> list[list[str]]:
    return [
        ["photograph named correctly", f"{heads['photograph_accuracy']:.1%}"],
        ["mirrored or not, correctly", f"{heads['mirrored_accuracy']:.1%}"],
        ["mean error of the centre, share of width or height", f"{heads['centre_error']:.4f}"],
        ["mean error of the side, share of the short side", f"{heads['side_error']:.4f}"],
    ]


def _noise(config: RefConfig, scores: dict[str, Any]) -> list[list[str]]:
    count, low, high = config.scored_crops, min(scores["sets"]), max(scores["sets"])
    half = _SETS * count // 2
    return [
        [f"{count} (least and most of {_SETS} sets)", f"{low:.2f} to {high:.2f}"],
        [f"{_SETS * count}", f"{scores['all_sets']:.2f}"],
        [f"{half} against {half} others", f"{scores['halves']:.2f}"],
    ]


def _responses(scores: dict[str, Any]) -> list[list[str]]:
    return [[name, f"{value:.2f}"] for name, value in scores["responses"].items()]


def _training_rows(config: RefConfig) -> list[list[str]]:
    autocast = config.mixed_precision != "no"
    return [
        ["network", f"{Training.read(config.output, config.loop)}, {config.batch_size} crops each"],
        ["crops", f"{config.bank_crops}, and a damaged copy of each"],
        ["precision", "bf16 autocast, float32 weights" if autocast else "float32"],
        ["seed", str(config.seed)],
    ]


def _photo_table() -> str:
    rows = [[p.label, f"`{p.package}/{p.path}`", p.licence] for p in PHOTOS]
    return markdown_table(["photograph", "source", "licence"], rows)
