"""Text-conditional: the caption says which photograph, which part of it, how near, and mirrored."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DiTTransformer2DModel,
    DPMSolverMultistepScheduler,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
)
from torch import Tensor, nn
from transformers import T5EncoderModel

from .captions import PHOTOGRAPHS, Description, describe, training_caption
from .checkpoint import left_by
from .conditioning import Conditions, set_weights
from .config import TextRecipe
from .diffusion import build_scheduler
from .latents import LatentBank, autoencoder_folder
from .photos import CropSource
from .pixart_transformer import build_pixart, start_from_dit
from .ref_bank import layout_of
from .starting_point import starting_point
from .streams import Stream, training_crops
from .text_encoder import tokenize
from .tokenizer import build_tokenizer

PREVIEW_GUIDANCE, PREVIEW_STEPS = 4.5, 20


class TextConditioning:
    """A ``PixArtTransformer2DModel`` and its stock pipeline; a ``Conditioning``.

    Raises:
        DitAccelError: the text encoder was not trained yet.
    """

    def __init__(self, config: TextRecipe, crops: int) -> None:
        self.config = config
        self.tokenizer = build_tokenizer(config.text_encoder.max_tokens)
        folder = left_by("text-encoder", config.output / "text_encoder" / "model")
        self.text_encoder = T5EncoderModel.from_pretrained(folder).requires_grad_(False).eval()
        source = training_crops(config, Stream.LATENTS)
        self.descriptions = [description_of(source, index) for index in range(crops)]

    def build_transformer(self, channels: int, sample_size: int) -> PixArtTransformer2DModel:
        """The model as training starts with it: unconditional, by the DiT's weights."""
        width = self.config.text_encoder.d_model
        model = build_pixart(self.config.transformer, channels, sample_size, width)
        folder = starting_point(self.config) / "transformer"
        start_from_dit(model, DiTTransformer2DModel.from_pretrained(folder))
        return model

    def draw(self, crops: Tensor, dropped: Tensor, generator: torch.Generator) -> Conditions:
        """Embeddings ``[B, L, D]`` and mask ``[B, L]``; the empty text for the dropped ones."""
        seed = int(torch.randint(2**31, (), generator=generator))
        rng = np.random.default_rng(seed)
        captions = [training_caption(self.descriptions[int(crop)], rng) for crop in crops]
        texts = ["" if empty else text for text, empty in zip(captions, dropped, strict=True)]
        tokens, mask = tokenize(self.tokenizer, texts, self.config.text_encoder.max_tokens)
        with torch.no_grad():
            return self.text_encoder(tokens, mask).last_hidden_state, mask

    def predict(
        self, model: nn.Module, noised: Tensor, timesteps: Tensor, conditions: Conditions
    ) -> Tensor:
        """The model's output ``[B, C, h, w]``."""
        embeddings, mask = conditions
        output: Tensor = model(
            noised,
            encoder_hidden_states=embeddings,
            timestep=timesteps,
            encoder_attention_mask=mask,
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
            return_dict=False,
        )[0]
        return output

    def assemble(self, bank: LatentBank, transformer_weights: list[Tensor]) -> PixArtSigmaPipeline:
        """A float32 ``PixArtSigmaPipeline``."""
        width = self.config.text_encoder.d_model
        channels, size = bank.latents.shape[1:3]
        transformer = build_pixart(self.config.transformer, channels, size, width)
        set_weights(transformer, transformer_weights)
        autoencoder = AutoencoderKL.from_pretrained(autoencoder_folder(self.config))
        # The folder it came from means nothing to whoever loads the published pipeline.
        autoencoder.register_to_config(_name_or_path="")
        scheduler = DPMSolverMultistepScheduler.from_config(build_scheduler().config)
        return PixArtSigmaPipeline(
            self.tokenizer, self.text_encoder, autoencoder, transformer.eval(), scheduler
        )

    def preview(self, pipeline: PixArtSigmaPipeline, generator: torch.Generator) -> Tensor:
        """One sample a photograph, each by a plain prompt."""
        prompts = [f"the whole of the {label} photograph" for label in PHOTOGRAPHS]
        return sample(pipeline, prompts, PREVIEW_GUIDANCE, PREVIEW_STEPS, generator)


def description_of(source: CropSource, index: int) -> Description:
    """All that can be said of crop ``index``."""
    crop = source.crop(index)
    return describe(crop.photo, layout_of(crop, source.photos[crop.photo].size), crop.mirrored)


@torch.no_grad()
def sample(
    pipeline: PixArtSigmaPipeline,
    prompts: list[str],
    guidance_scale: float,
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    """One picture per prompt, ``[B, 3, H, W]`` in [-1, 1]."""
    pipeline.set_progress_bar_config(disable=True)
    pictures: Tensor = pipeline(
        prompts,
        guidance_scale=guidance_scale,
        num_inference_steps=steps,
        generator=generator,
        max_sequence_length=pipeline.tokenizer.model_max_length,
        clean_caption=False,
        use_resolution_binning=False,
        output_type="pt",
    ).images
    return pictures * 2 - 1
