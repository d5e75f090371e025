"""The trained parts put together as a stock ``DiTPipeline``, and samples drawn from it."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, DiTPipeline
from torch import Tensor

from .config import TrainConfig
from .diffusion import build_scheduler
from .latents import LatentBank
from .photos import PHOTOS
from .transformer import build_transformer, separate_embedders


def assemble_pipeline(
    config: TrainConfig, bank: LatentBank, transformer_weights: list[Tensor]
) -> DiTPipeline:
    """A float32 pipeline; ``transformer_weights`` are in the order of the model's parameters."""
    transformer = build_transformer(config.transformer, *bank.latents.shape[1:3])
    for parameter, value in zip(transformer.parameters(), transformer_weights, strict=True):
        parameter.data.copy_(value)
    separate_embedders(transformer)
    autoencoder = AutoencoderKL.from_pretrained(config.output / "autoencoder" / "model")
    # The folder it was trained in means nothing to whoever loads the published pipeline.
    autoencoder.register_to_config(scaling_factor=bank.scaling_factor, _name_or_path="")
    pipeline = DiTPipeline(transformer.eval(), autoencoder, build_scheduler())
    # The stock constructor reads id2label but does not record it in model_index.json.
    pipeline.register_to_config(id2label={str(i): photo.label for i, photo in enumerate(PHOTOS)})
    return pipeline


@torch.no_grad()
def sample(
    pipeline: DiTPipeline,
    labels: list[int],
    guidance_scale: float,
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    """One picture per label, ``[B, 3, H, W]`` in [-1, 1]."""
    pipeline.set_progress_bar_config(disable=True)
    pictures: Tensor = pipeline(
        labels,
        guidance_scale=guidance_scale,
        num_inference_steps=steps,
        generator=generator,
        output_type="pt",
    ).images
    return pictures * 2 - 1
