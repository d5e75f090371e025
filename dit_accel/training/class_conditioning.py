"""Class-conditional: the class is the photograph."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, DiTPipeline, DiTTransformer2DModel
from torch import Tensor, nn

from .conditioning import Conditions, set_weights
from .config import ClassRecipe
from .diffusion import build_scheduler
from .dit_transformer import NULL_CLASS, build_transformer, separate_embedders
from .latents import LatentBank, autoencoder_folder
from .photos import PHOTOS

PREVIEW_GUIDANCE, PREVIEW_STEPS = 2.5, 20


class ClassConditioning:
    """A ``DiTTransformer2DModel`` and its stock pipeline; a ``Conditioning``."""

    def __init__(self, config: ClassRecipe, labels: Tensor) -> None:
        self.config = config
        self.labels = labels

    def build_transformer(self, channels: int, sample_size: int) -> DiTTransformer2DModel:
        """The model as training starts with it."""
        return build_transformer(self.config.transformer, channels, sample_size)

    def draw(self, crops: Tensor, dropped: Tensor, generator: torch.Generator) -> Conditions:
        """Labels ``[B]``."""
        return (self.labels[crops].masked_fill(dropped, NULL_CLASS),)

    def predict(
        self, model: nn.Module, noised: Tensor, timesteps: Tensor, conditions: Conditions
    ) -> Tensor:
        """The model's output ``[B, C, h, w]``."""
        output: Tensor = model(noised, timesteps, *conditions, return_dict=False)[0]
        return output

    def assemble(self, bank: LatentBank, transformer_weights: list[Tensor]) -> DiTPipeline:
        """A float32 ``DiTPipeline``."""
        transformer = self.build_transformer(*bank.latents.shape[1:3])
        set_weights(transformer, transformer_weights)
        separate_embedders(transformer)
        autoencoder = AutoencoderKL.from_pretrained(autoencoder_folder(self.config))
        # The folder it was trained in means nothing to whoever loads the published pipeline.
        autoencoder.register_to_config(scaling_factor=bank.scaling_factor, _name_or_path="")
        pipeline = DiTPipeline(transformer.eval(), autoencoder, build_scheduler())
        # The stock constructor reads id2label but does not record it in model_index.json.
        names = {str(number): photo.label for number, photo in enumerate(PHOTOS)}
        pipeline.register_to_config(id2label=names)
        return pipeline

    def preview(self, pipeline: DiTPipeline, generator: torch.Generator) -> Tensor:
        """One sample a photograph."""
        labels = list(range(len(PHOTOS)))
        return sample(pipeline, labels, PREVIEW_GUIDANCE, PREVIEW_STEPS, generator)


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
