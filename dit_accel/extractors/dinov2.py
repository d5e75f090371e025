"""``dinov2-vitl14``: features of FD-DINOv2 (Stein et al. 2023), with dgm-eval's rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dit_accel.extractors.extractor import check_images, exact_inference
from dit_accel.extractors.pretrained import load_pretrained
from dit_accel.extractors.resize import pil_resize
from dit_accel.extractors.weights import find_weights, hub_file

DINOV2_WEIGHTS = hub_file(
    "facebook/dinov2-large",
    "model.safetensors",
    "399fba97a95f22c36834418bc69373364a99af3a1153da1c0fb31db567c92e23",
)
INPUT_SIZE = 224
# Of ImageNet, in [0, 1].
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
# facebookresearch/dinov2 scales its position grid by (n + 0.1) / N instead of n / N. The published
# numbers hold the 0.1; transformers leaves it out.
_OFFSET = 0.1


class DINOv2Extractor:
    """The class token after the last layer norm; implements `Extractor`.

    Args:
        network: a `transformers.Dinov2Model` with the published weights in it.
        device: where it runs.
    """

    name = "dinov2-vitl14"
    version = "1"
    resize = "PIL bicubic to 224 in bytes, aspect ratio not kept"
    weights_sha256 = DINOV2_WEIGHTS.sha256

    def __init__(self, network: Any, device: str | torch.device = "cpu") -> None:
        self._device = torch.device(device)
        embeddings = network.embeddings
        grid = INPUT_SIZE // network.config.patch_size
        positions = resize_positions(embeddings.position_embeddings.detach(), grid)
        # With as many positions as patches the model takes them as they are.
        embeddings.position_embeddings = nn.Parameter(positions, requires_grad=False)
        self._network = network.to(self._device)
        self.dim = int(network.config.hidden_size)
        self._mean = torch.tensor(_MEAN, device=self._device).view(3, 1, 1)
        self._std = torch.tensor(_STD, device=self._device).view(3, 1, 1)

    @exact_inference()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """See `Extractor.__call__`."""
        check_images(images)
        resized = pil_resize(images, INPUT_SIZE, INPUT_SIZE).to(self._device)
        pixels = (resized.float() / 255 - self._mean) / self._std
        return {"features": self._network(pixel_values=pixels).pooler_output}


def resize_positions(positions: Tensor, grid: int) -> Tensor:
    """Resize position embeddings as facebookresearch/dinov2 does, bicubic and with its offset.

    Args:
        positions: ``[1, 1 + N * N, D]``, the class token's first.
        grid: patches along a side, wanted.

    Returns:
        ``[1, 1 + grid * grid, D]``.
    """
    side = round((positions.shape[1] - 1) ** 0.5)
    if side == grid:
        return positions
    patches = positions[:, 1:].transpose(1, 2).reshape(1, -1, side, side)
    scale = (grid + _OFFSET) / side
    resized = F.interpolate(patches, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([positions[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)


def load_dinov2(weights: Path | None = None, device: str | torch.device = "cpu") -> DINOv2Extractor:
    """Load the extractor.

    Raises:
        WeightsError: see `find_weights`.
    """
    from transformers import Dinov2Model

    path = find_weights(DINOV2_WEIGHTS, weights)
    return DINOv2Extractor(load_pretrained(Dinov2Model, vit_large_14(), path), device)


def vit_large_14() -> Any:
    """Config of the published network, a `transformers.Dinov2Config`."""
    from transformers import Dinov2Config

    return Dinov2Config(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=518,
        patch_size=14,
    )
