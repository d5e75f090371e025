"""``inception-tf`` and ``inception-clean``: one network, two resize rules, two families of FIDs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from dit_accel.extractors.extractor import check_images, exact_inference
from dit_accel.extractors.inception import FEATURES, INPUT_SIZE, FIDInception, InceptionOutput
from dit_accel.extractors.resize import clean_resize, tf_resize
from dit_accel.extractors.weights import WeightsFile, find_weights

# The same bytes are published by torch-fidelity and, under another name, by pytorch-fid.
INCEPTION_WEIGHTS = WeightsFile(
    name="weights-inception-2015-12-05-6726825d.pth",
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth",
    aliases=("pt_inception-2015-12-05-6726825d.pth",),
)


class InceptionExtractor:
    """Inception features of pictures; implements `Extractor`.

    Args:
        name: which of the two it is.
        resize: the rule, in words.
        resizer: the rule, ``(images [B, 3, H, W], size) -> float32 [B, 3, size, size]``.
        network: with the published weights in it.
        device: where it runs.
    """

    version = "1"
    dim = FEATURES
    weights_sha256 = INCEPTION_WEIGHTS.sha256

    def __init__(
        self,
        name: str,
        resize: str,
        resizer: Callable[[Tensor, int], Tensor],
        network: FIDInception,
        device: str | torch.device = "cpu",
    ) -> None:
        self.name, self.resize, self._resizer = name, resize, resizer
        self._device = torch.device(device)
        self._network = network.eval().requires_grad_(False).to(self._device)

    @exact_inference()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """See `Extractor.__call__`: ``features``, ``logits`` and ``spatial``."""
        check_images(images)
        resized = self._resizer(images.to(self._device), INPUT_SIZE).to(self._device)
        output: InceptionOutput = self._network(resized)
        return output._asdict()


def load_inception_tf(
    weights: Path | None = None, device: str | torch.device = "cpu"
) -> InceptionExtractor:
    """Load the extractor of ADM's evaluator and torch-fidelity.

    Raises:
        WeightsError: see `find_weights`.
    """
    network = load_inception(weights)
    words = "TensorFlow 1 bilinear to 299, float32, not antialiased"
    return InceptionExtractor("inception-tf", words, tf_resize, network, device)


def load_inception_clean(
    weights: Path | None = None, device: str | torch.device = "cpu"
) -> InceptionExtractor:
    """Load the extractor of clean-fid's mode ``clean``.

    Raises:
        WeightsError: see `find_weights`.
    """
    network = load_inception(weights)
    words = "PIL bicubic to 299 per channel in float32, clipped, not quantised"
    return InceptionExtractor("inception-clean", words, clean_resize, network, device)


def load_inception(weights: Path | None = None) -> FIDInception:
    """Load the network with the published weights.

    Raises:
        WeightsError: see `find_weights`.
    """
    path = find_weights(INCEPTION_WEIGHTS, weights)
    network = FIDInception()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network
