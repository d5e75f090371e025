"""``ref``: the feature network that ships with the package, and works without a network.

It was trained on crops of the photographs (``scripts/train_ref_features.py``) to tell from its 64
features which photograph a crop is of, where in the photograph it lies, and what was done to it:
blur, noise, JPEG and the like.  A classifier learns to overlook such damage; a Frechet distance
in its features would overlook it too.  The distance is called FD-ref, never FID.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import torch
from safetensors import safe_open
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn import functional as F

from dit_accel.errors import DitAccelError
from dit_accel.extractors.extractor import check_images, exact_inference
from dit_accel.resources import reference_model_folder

MODEL_FILE = "model.safetensors"


@dataclass(frozen=True)
class RefArchitecture:
    """Everything that decides the shape of a :class:`RefNetwork`; stored with its weights."""

    size: int
    channels: tuple[int, ...]
    features: int
    grid: int
    grid_channels: int
    hidden: int
    photographs: int
    degradations: int


class Stage(nn.Module):
    """Half the resolution, then one residual block with the norm inside its branch.

    The main path is not normalised: a norm there would hide a change of contrast.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(before, after, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(8, after)
        self.residual = nn.Conv2d(after, after, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[B, before, h, w]`` to ``[B, after, h / 2, w / 2]``."""
        halved = self.down(hidden)
        output: Tensor = halved + self.residual(F.silu(self.norm(halved)))
        return output


def fine_detail(pixels: Tensor) -> Tensor:
    """What a 3 x 3 mean takes away from ``[B, 3, S, S]``, amplified to about the same range."""
    local_mean = F.avg_pool2d(pixels, 3, stride=1, padding=1, count_include_pad=False)
    return 4 * (pixels - local_mean)


def mean_and_log_spread(hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Over space, of every channel of ``[B, C, h, w]``: mean and log standard deviation."""
    variance, mean = torch.var_mean(hidden.float(), (2, 3))
    return mean, 0.5 * torch.log(variance + 1e-4)


class RefNetwork(nn.Module):
    """Crops to 64 features, and features to what they say about the crop.

    The features are one linear map of (a) mean and log spread of every stage's channels, which
    carry texture at every scale, and (b) a coarse grid of the last stage, which carries the layout.
    A logarithm, because blur and noise multiply the energy of fine detail.
    """

    def __init__(self, architecture: RefArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        channels = architecture.channels
        self.stem = nn.Conv2d(6, channels[0], 3, stride=2, padding=1)
        self.stages = nn.ModuleList(Stage(before, after) for before, after in pairwise(channels))
        self.to_grid = nn.Conv2d(channels[-1], architecture.grid_channels, 1)
        described = 2 * sum(channels) + architecture.grid_channels * architecture.grid**2
        self.to_features = nn.Linear(described, architecture.features)
        self.photograph = nn.Linear(architecture.features, architecture.photographs)
        self.layout = nn.Sequential(
            nn.Linear(architecture.features, architecture.hidden),
            nn.SiLU(),
            nn.Linear(architecture.hidden, 4),
        )
        self.degradation = nn.Linear(architecture.features, architecture.degradations)

    def forward(self, pixels: Tensor) -> Tensor:
        """``[B, 3, S, S]`` pictures in [-1, 1], S the architecture's size, to ``[B, 64]``."""
        hidden = self.stem(torch.cat([pixels, fine_detail(pixels)], 1))
        described = [*mean_and_log_spread(hidden)]
        for stage in self.stages:
            hidden = stage(F.silu(hidden))
            described += mean_and_log_spread(hidden)
        grid = F.adaptive_avg_pool2d(self.to_grid(F.silu(hidden)), self.architecture.grid)
        features: Tensor = self.to_features(torch.cat([*described, grid.flatten(1)], 1))
        return features

    def heads(self, features: Tensor) -> dict[str, Tensor]:
        """What ``[B, 64]`` features say about their pictures.

        Returns:
            ``photograph`` ``[B, 15]``: scores of the photographs (``training.photos.PHOTOS``);
            ``centre`` ``[B, 2]``: centre of the crop, as a share of the photograph's width and
            height from its upper left corner, whether the crop is mirrored or not;
            ``side`` ``[B]``: side of the crop, as a share of the photograph's short side;
            ``mirrored`` ``[B]``: score above 0 for a mirrored crop;
            ``degradation`` ``[B, 8]``: strengths 0 to 1 (``training.degradations.DEGRADATIONS``).
        """
        layout = self.layout(features)
        return {
            "photograph": self.photograph(features),
            "centre": 0.5 + CENTRE_SPREAD * layout[:, :2],
            "side": 0.8 + SIDE_SPREAD * layout[:, 2],
            "mirrored": layout[:, 3],
            "degradation": DEGRADATION_SPREAD * self.degradation(features),
        }

    @torch.no_grad()
    def standardise(self, mean: Tensor, std: Tensor) -> None:
        """Make the features ``(features - mean) / std`` and leave what the heads say as it was."""
        self.to_features.weight /= std[:, None]
        self.to_features.bias.sub_(mean).div_(std)
        readers = cast(list[nn.Linear], [self.photograph, self.layout[0], self.degradation])
        for reader in readers:
            reader.bias.add_(reader.weight @ mean)
            reader.weight.mul_(std)


# Roughly the standard deviations over training crops, so that the heads answer in units of 1.
CENTRE_SPREAD, SIDE_SPREAD, DEGRADATION_SPREAD = 0.1, 0.115, 0.144


def save_network(network: RefNetwork, path: Path) -> None:
    """Write weights, with the architecture in the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"architecture": json.dumps(asdict(network.architecture))}
    save_model(network, str(path), metadata=header)


def load_network(path: Path) -> RefNetwork:
    """Read what :func:`save_network` wrote."""
    with safe_open(path, framework="pt") as stored:
        header = json.loads(stored.metadata()["architecture"])
    network = RefNetwork(RefArchitecture(**{**header, "channels": tuple(header["channels"])}))
    load_model(network, path)
    return network.eval().requires_grad_(False)


class RefExtractor:
    """Pictures of any size to ``ref`` features; an ``Extractor``."""

    name = "ref"
    version = "1"

    def __init__(
        self, network: RefNetwork, weights_sha256: str, device: str | torch.device = "cpu"
    ) -> None:
        self.network = network.to(device)
        self.weights_sha256 = weights_sha256
        self.device = device
        self.dim = network.architecture.features
        size = network.architecture.size
        self.resize = f"to {size} x {size} by PyTorch's antialiased bicubic filter, not rounded"

    @exact_inference()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """``[B, 3, H, W]`` uint8 to ``{"features": [B, 64]}``, float32.

        Raises:
            DitAccelError: if ``images`` is anything else.
        """
        check_images(images)
        size = self.network.architecture.size
        pixels = images.to(self.device).float()
        if pixels.shape[2:] != (size, size):
            pixels = F.interpolate(pixels, (size, size), mode="bicubic", antialias=True)
        return {"features": self.network(pixels.clamp(0, 255) / 127.5 - 1)}

    @exact_inference()
    def heads(self, features: Tensor) -> dict[str, Tensor]:
        """What the features say about the crops: see :meth:`RefNetwork.heads`."""
        return self.network.heads(features.to(self.device))


def load_ref(device: str | torch.device = "cpu") -> RefExtractor:
    """The shipped ``ref`` extractor.

    Raises:
        DitAccelError: if the weights are not part of this installation.
    """
    return read_extractor(reference_model_folder("ref-features") / MODEL_FILE, device)


def read_extractor(path: Path, device: str | torch.device = "cpu") -> RefExtractor:
    """The extractor of any weights file that :func:`save_network` wrote.

    Raises:
        DitAccelError: if there is no such file.
    """
    if not path.exists():
        raise DitAccelError(
            f"ref: {path} is missing; reinstall dit-accel, or train it with "
            "`python scripts/train_ref_features.py configs/train/ref_features.yaml`"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return RefExtractor(load_network(path), digest, device)
