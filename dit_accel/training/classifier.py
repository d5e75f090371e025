"""A small classifier of the photographs: the judge of whether a sample shows its class."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn import functional as F

from .checkpoint import write_json
from .config import ClassRecipe
from .loop import Trainer
from .photos import PHOTOS, CropSource
from .streams import Stream, held_out_crops, training_crops


class CropClassifier(nn.Module):
    """Strided convolutions, global average pooling and one linear layer."""

    def __init__(self, channels: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.channels = channels
        widths = zip((3, *channels[:-1]), channels, strict=True)
        self.trunk = nn.Sequential(*(_halving_block(before, after) for before, after in widths))
        self.head = nn.Linear(channels[-1], classes)

    def features(self, pixels: Tensor) -> Tensor:
        """``[B, 3, H, W]`` pictures in [-1, 1] to ``[B, channels[-1]]`` features."""
        pooled: Tensor = self.trunk(pixels).mean((2, 3))
        return pooled

    def forward(self, pixels: Tensor) -> Tensor:
        """Class scores ``[B, classes]``, unnormalised."""
        scores: Tensor = self.head(self.features(pixels))
        return scores


def _halving_block(before: int, after: int) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 3, stride=2, padding=1)
    return nn.Sequential(convolution, nn.GroupNorm(8, after), nn.SiLU())


def save_classifier(model: CropClassifier, path: Path) -> None:
    """Write weights, with the shape of the network in the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"channels": list(model.channels), "classes": model.head.out_features}
    save_model(model, str(path), metadata={"architecture": json.dumps(header)})


def load_classifier(path: Path) -> CropClassifier:
    """Read what :func:`save_classifier` wrote."""
    with safe_open(path, framework="pt") as stored:
        header = json.loads(stored.metadata()["architecture"])
    model = CropClassifier(tuple(header["channels"]), header["classes"])
    load_model(model, path)
    return model.eval()


@torch.no_grad()
def accuracy(model: CropClassifier, pixels: Tensor, labels: Tensor) -> float:
    """Share of ``[B, 3, H, W]`` pictures in [-1, 1] that are given their own label."""
    return float((model(pixels).argmax(1) == labels).float().mean())


class ClassifierStage:
    """Trains the judge on real crops; leaves ``model.safetensors`` and ``result.json``."""

    def __init__(self, config: ClassRecipe, accelerator: Accelerator) -> None:
        self.config = config
        self.stage = config.classifier
        self.folder = config.output / "classifier"
        self.accelerator = accelerator
        self.crops: CropSource = training_crops(config, Stream.CLASSIFIER)
        self.held_out = held_out_crops(config)
        torch.manual_seed(config.seed)
        model = CropClassifier(self.stage.channels, len(PHOTOS))
        self.trainer = Trainer(model, self.stage.loop, self.folder, accelerator)

    def run(self) -> None:
        """Train to the end, then score on the held-out crops and save."""
        self.trainer.run(self.loss, self.preview)
        model = self.accelerator.unwrap_model(self.trainer.model, keep_fp32_wrapper=False)
        save_classifier(model, self.folder / "model.safetensors")
        result = {"held_out_accuracy": self.held_out_accuracy(), "steps": self.trainer.step}
        write_json({**result, "seconds": self.trainer.seconds}, self.folder / "result.json")

    def loss(self, step: int) -> Tensor:
        """Cross entropy on the crops of one step."""
        count = self.stage.batch_size
        pixels, labels = self.crops.batch(step * count, count, self.config.data.crop_size)
        device = self.accelerator.device
        with self.accelerator.autocast():
            scores = self.trainer.model(pixels.to(device))
        return F.cross_entropy(scores.float(), labels.to(device))

    def preview(self, step: int) -> dict[str, float]:
        """Held-out accuracy on the way."""
        return {"held_out_accuracy": self.held_out_accuracy()}

    def held_out_accuracy(self) -> float:
        """Share of the fixed held-out crops that are named correctly."""
        device = self.accelerator.device
        pixels, labels = self.held_out
        return accuracy(self.trainer.model, pixels.to(device), labels.to(device))
