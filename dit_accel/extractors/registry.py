"""Extractors by name. Nothing heavy is imported before one is asked for."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dit_accel.errors import DitAccelError, did_you_mean, mismatch, show
from dit_accel.extractors.extractor import Extractor

_PACKAGE = "dit_accel.extractors"


class _Entry(NamedTuple):
    description: str
    module: str
    loader: str


_ENTRIES = {
    "inception-tf": _Entry(
        "Inception-v3 of 2015-12-05, TensorFlow 1 bilinear resize (ADM, torch-fidelity): 2048-d",
        "inception_extractors",
        "load_inception_tf",
    ),
    "inception-clean": _Entry(
        "Inception-v3 of 2015-12-05, PIL bicubic resize in float32 (clean-fid): 2048-d",
        "inception_extractors",
        "load_inception_clean",
    ),
    "dinov2-vitl14": _Entry(
        "DINOv2 ViT-L/14, class token, 224 pixels (dgm-eval): 1024-d", "dinov2", "load_dinov2"
    ),
    "clip-vit-l-14": _Entry(
        "CLIP ViT-L/14 image embedding, 224 pixels: 768-d", "clip", "load_clip"
    ),
    "ref": _Entry(
        "the small network that ships with this package, works offline: 64-d", "ref", "load_ref"
    ),
}

EXTRACTORS: dict[str, str] = {name: entry.description for name, entry in _ENTRIES.items()}


def check_extractor_name(name: str) -> None:
    """Refuse a name that is no extractor's, before anything is loaded.

    Raises:
        DitAccelError: the message lists the names there are.
    """
    if name not in _ENTRIES:
        remedy = did_you_mean(name, _ENTRIES) + "each is explained in docs/scores_weights.md"
        expected = "one of " + ", ".join(_ENTRIES)
        raise DitAccelError(f"extractor: {mismatch(name, expected, remedy)}")


def load_extractor(
    name: str, *, weights: Path | None = None, device: str | torch.device = "cpu"
) -> Extractor:
    """Load the extractor called `name`.

    Args:
        name: a key of `EXTRACTORS`.
        weights: the weights file, or a folder that holds it; by default it is looked for as
            `dit_accel.extractors.weights.find_weights` says, and downloaded in the end.
        device: where the network runs.

    Raises:
        DitAccelError: no such extractor, or weights were given for ``ref``, which brings its own.
        WeightsError: the weights are not here and cannot be had, or are not the published ones.
    """
    check_extractor_name(name)
    entry = _ENTRIES[name]
    load: Any = getattr(importlib.import_module(f"{_PACKAGE}.{entry.module}"), entry.loader)
    if name != "ref":
        extractor: Extractor = load(weights, device)
        return extractor
    if weights is not None:
        found = show(str(weights))
        raise DitAccelError(
            f"weights: got {found} for extractor 'ref', which ships with its own; leave it out"
        )
    shipped: Extractor = load(device)
    return shipped
