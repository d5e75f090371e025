"""How much of photograph and layout the heads of the ``ref`` network get right."""

from __future__ import annotations

import torch
from torch import Tensor

from dit_accel.extractors.ref import RefNetwork

from .photos import CropSource
from .ref_bank import layout_of, to_bytes, to_unit

_CHUNK = 64


@torch.no_grad()
def all_features(network: RefNetwork, pictures: Tensor) -> Tensor:
    """Features ``[N, 64]`` of uint8 pictures ``[N, 3, S, S]``, on the CPU."""
    device = next(network.parameters()).device
    chunks = torch.split(pictures, _CHUNK)
    return torch.cat([network(to_unit(chunk).to(device)).float().cpu() for chunk in chunks])


@torch.no_grad()
def head_scores(network: RefNetwork, source: CropSource, count: int) -> dict[str, float]:
    """Accuracies and mean absolute errors on crops ``0 .. count`` of ``source``."""
    crops = [source.crop(index) for index in range(count)]
    pixels, labels = source.batch(0, count, network.architecture.size)
    device = next(network.parameters()).device
    features = all_features(network, to_bytes(pixels)).to(device)
    heads = {name: values.cpu() for name, values in network.heads(features).items()}
    layout = torch.tensor([layout_of(crop, source.photos[crop.photo].size) for crop in crops])
    mirrored = torch.tensor([crop.mirrored for crop in crops])
    return {
        "photograph_accuracy": _mean(heads["photograph"].argmax(1) == labels),
        "mirrored_accuracy": _mean((heads["mirrored"] > 0) == mirrored),
        "centre_error": _mean((heads["centre"] - layout[:, :2]).abs()),
        "side_error": _mean((heads["side"] - layout[:, 2]).abs()),
    }


def _mean(values: Tensor) -> float:
    return float(values.float().mean())
