"""LPIPS (Zhang et al. 2018) with AlexNet: the perceptual distance of two pictures, by torchmetrics.

torchmetrics fetches torchvision's AlexNet by itself when it builds the network, offline or not and
on every rank; here the file is found by `find_weights` like all others.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dit_accel.errors import DitAccelError, mismatch
from dit_accel.extractors.extractor import exact_inference
from dit_accel.extractors.weights import WeightsFile, find_weights

ALEXNET_WEIGHTS = WeightsFile(
    name="alexnet-owt-7be5be79.pth",
    sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
)


class Lpips:
    """LPIPS of picture pairs.

    Args:
        network: torchmetrics' LPIPS network with the published weights in it.
        device: where it runs.
    """

    name = "lpips-alex"
    version = "1"
    resize = "none"
    weights_sha256 = ALEXNET_WEIGHTS.sha256

    def __init__(self, network: nn.Module, device: str | torch.device = "cpu") -> None:
        self._device = torch.device(device)
        self._network = network.eval().requires_grad_(False).to(self._device)

    @exact_inference()
    def __call__(self, images: Tensor, others: Tensor) -> Tensor:
        """Compare picture b of `images` with picture b of `others`.

        Args:
            images: ``[B, 3, H, W]``, uint8 or floating point in [0, 1].
            others: the same shape.

        Returns:
            Distances ``[B]`` float32; 0 for equal pictures.

        Raises:
            DitAccelError: the shapes differ, or floating-point values are outside of [0, 1].
        """
        if images.shape != others.shape:
            expected, remedy = f"the shape {list(images.shape)}", "compare pictures of one size"
            raise DitAccelError(f"others: {mismatch(list(others.shape), expected, remedy)}")
        pair = _unit_range(images.to(self._device)), _unit_range(others.to(self._device))
        distances: Tensor = self._network(*pair, normalize=True)
        return distances.flatten()


def _unit_range(images: Tensor) -> Tensor:
    if images.dtype == torch.uint8:
        return images.float() / 255
    low, high = (float(value) for value in images.aminmax())
    if low < 0 or high > 1:
        remedy = "divide bytes by 255, or hand them over as uint8"
        raise DitAccelError(f"images: {mismatch([low, high], 'values in [0, 1]', remedy)}")
    return images.float()


def load_lpips(weights: Path | None = None, device: str | torch.device = "cpu") -> Lpips:
    """Load LPIPS with AlexNet; its linear layers come with torchmetrics.

    Raises:
        DitAccelError: torchvision is not installed.
        WeightsError: see `find_weights`.
    """
    if importlib.util.find_spec("torchvision") is None:
        raise DitAccelError("lpips: torchvision is not installed; run 'pip install torchvision'")
    path = find_weights(ALEXNET_WEIGHTS, weights)
    network = lpips_network()
    load_alexnet(network, torch.load(path, map_location="cpu", weights_only=True))
    return Lpips(network, device)


def lpips_network() -> Any:
    """Torchmetrics' network with its linear layers, and an AlexNet of random weights."""
    from torchmetrics.functional.image.lpips import _NoTrainLpips

    return _NoTrainLpips(net="alex", pnet_rand=True)


def load_alexnet(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Put torchvision's AlexNet into the five slices that torchmetrics cuts it into.

    Slices number their layers as torchvision does: ``slice2.3.weight`` is ``features.3.weight``.
    """
    slices = network.get_submodule("net")
    slices.load_state_dict(
        {name: state["features." + name.partition(".")[2]] for name in slices.state_dict()}
    )
