"""A bank of encoded crops, so that the transformer never waits for the encoder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor

from .checkpoint import left_by
from .config import ClassRecipe, Recipe, TextRecipe
from .starting_point import starting_point
from .streams import Stream, training_crops


@dataclass(frozen=True)
class LatentBank:
    """Latents ``[N, C, h, w]`` (float32, about spread 1) and their labels ``[N]``."""

    latents: Tensor
    labels: Tensor
    scaling_factor: float

    @classmethod
    def load(cls, path: Path) -> LatentBank:
        """Read a bank and scale its latents as the transformer sees them.

        Raises:
            DitAccelError: nothing was encoded yet.
        """
        stored = load_file(left_by("latents", path))
        factor = float(stored["scaling_factor"])
        return cls(stored["latents"].float() * factor, stored["labels"], factor)


@torch.no_grad()
def encode_batches(
    autoencoder: AutoencoderKL,
    batches: Iterable[tuple[Tensor, Tensor]],
    accelerator: Accelerator,
) -> tuple[Tensor, Tensor]:
    """Posterior means of labelled pictures as float16 ``[N, C, h, w]``, and labels ``[N]``."""
    latents, labels = [], []
    for pixels, batch_labels in batches:
        pixels = pixels.to(accelerator.device, memory_format=torch.channels_last)
        with accelerator.autocast():
            means = autoencoder.encode(pixels).latent_dist.mode()
        latents.append(means.half().cpu())
        labels.append(batch_labels)
    return torch.cat(latents).contiguous(), torch.cat(labels)


class LatentStage:
    """Encodes the bank with the trained autoencoder; complete when ``bank.safetensors`` exists."""

    def __init__(self, config: ClassRecipe | TextRecipe, accelerator: Accelerator) -> None:
        self.config = config
        self.accelerator = accelerator
        self.path = bank_path(config)

    def run(self) -> None:
        """Encode, measure the spread, and write the bank in one atomic rename."""
        if self.path.exists():
            return
        autoencoder = AutoencoderKL.from_pretrained(autoencoder_folder(self.config))
        autoencoder.to(self.accelerator.device, memory_format=torch.channels_last)
        crops = training_crops(self.config, Stream.LATENTS)
        stage, size = self.config.latents, self.config.data.crop_size
        pictures = (
            crops.batch(start, min(stage.batch_size, stage.crops - start), size)
            for start in range(0, stage.crops, stage.batch_size)
        )
        latents, labels = encode_batches(autoencoder, pictures, self.accelerator)
        if isinstance(self.config, TextRecipe):
            factor = torch.tensor([autoencoder.config.scaling_factor])
        else:
            factor = (1 / latents.float().std()).reshape(1)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        save_file({"latents": latents, "labels": labels, "scaling_factor": factor}, partial)
        os.replace(partial, self.path)


def autoencoder_folder(config: ClassRecipe | TextRecipe) -> Path:
    """The autoencoder that encodes the bank and decodes the samples.

    Raises:
        DitAccelError: it was not trained yet, or as `starting_point`.
    """
    if isinstance(config, TextRecipe):
        return starting_point(config) / "vae"
    return left_by("autoencoder", config.output / "autoencoder" / "model")


def bank_path(config: Recipe) -> Path:
    """Where the bank of a run lives."""
    return config.output / "latents" / "bank.safetensors"
