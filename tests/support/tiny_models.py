"""Tiny random diffusion transformers and stock pipelines around them; nothing is downloaded.

Weights are drawn so that every parameter matters: with diffusers' own initialisation the blocks
hardly change their input, and a method that does nothing would pass for one that works.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
)
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel

from dit_accel.install import installation_of
from dit_accel.integration.statistics import Call

NUM_LAYERS = 4
SIDE = 8  # latent side; patches of one, so 64 tokens
CHANNELS = 4
NULL_LABEL = 1000
TEXT_LENGTH, TEXT_WIDTH = 5, 12


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Draw all parameters anew: matrices that keep the variance, biases and tables that matter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            deviation = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.2
            if "embedding_table" in name:
                deviation = 0.5
            elif "norm1.linear" in name:  # DiT's modulations: mostly constant, so that steps relate
                deviation = 0.3 * deviation if parameter.ndim > 1 else 0.5
            parameter.normal_(0.0, deviation, generator=generator)
    return model


def in_dtype(model: Any, dtype: torch.dtype) -> Any:
    """Convert a model, unless it is of that type: diffusers warns of every conversion."""
    return model if dtype == torch.float32 else nn.Module.to(model, dtype)


class RecordingVae(AutoencoderKL):
    """Keeps the latents that it decodes, since DiTPipeline returns clamped images alone."""

    decoded: Tensor | None = None

    def decode(self, z: Tensor, *args: Any, **kwargs: Any) -> Any:
        self.decoded = z
        return super().decode(z, *args, **kwargs)


@functools.cache
def _vae(dtype: torch.dtype) -> RecordingVae:
    vae = RecordingVae(block_out_channels=(4,), norm_num_groups=4, latent_channels=CHANNELS)
    return in_dtype(randomise(vae, 9).eval(), dtype)


def tiny_vae(dtype: torch.dtype) -> RecordingVae:
    """One that records for itself and shares its weights with the others."""
    return copy.copy(_vae(dtype))


@functools.cache
def tiny_text_encoder(dtype: torch.dtype) -> T5EncoderModel:
    """What a pipeline asks for its type; tests pass embeddings."""
    config = T5Config(vocab_size=4, d_model=TEXT_WIDTH, d_kv=4, d_ff=4, num_layers=1, num_heads=1)
    return in_dtype(T5EncoderModel(config), dtype)


@functools.cache
def _built(family: TinyFamily, num_layers: int, dtype: torch.dtype, seed: int) -> Any:
    # The first caller's random state stays what it would be for any other.
    with torch.random.fork_rng(devices=[]):
        return in_dtype(randomise(family.build(num_layers), seed).eval(), dtype)


def ddim(**changes: Any) -> DDIMScheduler:
    return DDIMScheduler(clip_sample=False, **changes)


def noise(samples: Sequence[int], size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Initial latents `[B, C, H, W]`, a function of each sample's seed alone."""
    drawn = [torch.randn(CHANNELS, *size, generator=generator) for generator in seeded(samples)]
    return torch.stack(drawn).to(dtype)


def seeded(samples: Sequence[int]) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(sample) for sample in samples]


class TinyFamily:
    """What tests need to know of a model family."""

    name: str
    condition_first: bool

    def transformer(
        self, num_layers: int = NUM_LAYERS, dtype: torch.dtype = torch.float32, seed: int = 0
    ) -> Any:
        """A transformer of one's own, with the weights of a seed."""
        return copy.deepcopy(_built(self, num_layers, dtype, seed))

    def build(self, num_layers: int) -> Any:
        """A transformer as diffusers initialises it."""
        raise NotImplementedError

    def pipeline(self, scheduler: Any = None, transformer: Any = None, **kwargs: Any) -> Any:
        raise NotImplementedError

    def generate(self, pipe: Any, samples: Sequence[int] = (1, 2, 3), **kwargs: Any) -> Tensor:
        """Run the stock pipeline; final latents `[B, C, H, W]`."""
        raise NotImplementedError

    def condition(self, samples: Sequence[int], dtype: torch.dtype) -> dict[str, Any]:
        """Transformer arguments that condition each sample on its own label or prompt."""
        raise NotImplementedError

    def null(self, count: int, dtype: torch.dtype) -> dict[str, Any]:
        """Arguments of the unconditional rows."""
        raise NotImplementedError

    def predict(self, transformer: Any, latents: Tensor, timestep: Any, condition: Any) -> Tensor:
        """One call of the transformer, `[R, C, H, W] -> [R, C, H, W]`."""
        steps = torch.full((latents.shape[0],), float(timestep)).to(latents.dtype)
        return transformer(latents, timestep=steps, **condition).sample[:, :CHANNELS]

    def guided_rows(self, conditional: Tensor, null: Tensor) -> Tensor:
        """Rows of batched guidance in the order of this family's stock pipeline."""
        return torch.cat([conditional, null] if self.condition_first else [null, conditional])

    def guided_condition(self, samples: Sequence[int], dtype: torch.dtype) -> dict[str, Any]:
        condition, null = self.condition(samples, dtype), self.null(len(samples), dtype)
        return _map_pairs(self.guided_rows, condition, null)

    def denoise(self, transformer: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Final latents of `steps_of`."""
        return list(self.steps_of(transformer, *args, **kwargs))[-1]

    @torch.no_grad()
    def steps_of(
        self,
        transformer: Any,
        samples: Sequence[int] = (1, 2, 3),
        steps: int = 6,
        guidance: str = "batched",
        scheduler: Any = None,
        size: tuple[int, int] = (SIDE, SIDE),
        start: int = 0,
    ) -> Iterator[Tensor]:
        """A loop of one's own over the bare transformer, which yields the latents of each step.

        `guidance` is batched, separate or none; so many steps at the `start` are left out.
        """
        scheduler = ddim() if scheduler is None else scheduler
        scheduler.set_timesteps(steps)
        latents = noise(samples, size, transformer.dtype)
        for timestep in scheduler.timesteps[start:]:
            output = self._guide(transformer, latents, timestep, samples, guidance)
            latents = scheduler.step(output, timestep, latents).prev_sample
            yield latents

    def _guide(
        self, transformer: Any, latents: Tensor, timestep: Any, samples: Sequence[int], kind: str
    ) -> Tensor:
        condition = self.condition(samples, latents.dtype)
        if kind == "none":
            return self.predict(transformer, latents, timestep, condition)
        if kind == "separate":
            conditional = self.predict(transformer, latents, timestep, condition)
            null = self.predict(
                transformer, latents, timestep, self.null(len(samples), latents.dtype)
            )
        else:
            rows = torch.cat([latents, latents])
            both = self.guided_condition(samples, latents.dtype)
            halves = self.predict(transformer, rows, timestep, both).chunk(2)
            conditional, null = halves if self.condition_first else halves[::-1]
        return null + 2.0 * (conditional - null)


class TinyDiT(TinyFamily):
    name = "dit"
    condition_first = True

    def build(self, num_layers: int) -> Any:
        return DiTTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=CHANNELS,
            out_channels=2 * CHANNELS,
            num_layers=num_layers,
            sample_size=SIDE,
            patch_size=1,
            num_embeds_ada_norm=NULL_LABEL,
        )

    def pipeline(self, scheduler: Any = None, transformer: Any = None, **kwargs: Any) -> Any:
        transformer = self.transformer(**kwargs) if transformer is None else transformer
        pipe = DiTPipeline(transformer, tiny_vae(transformer.dtype), scheduler or ddim())
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def generate(
        self,
        pipe: Any,
        samples: Sequence[int] = (1, 2, 3),
        steps: int = 6,
        guidance: float = 2.0,
    ) -> Tensor:
        torch.manual_seed(0)  # DDPM draws from the global state in this stock pipeline
        pipe(
            [37 * sample for sample in samples],
            guidance_scale=guidance,
            num_inference_steps=steps,
            generator=seeded(samples),
            output_type="pt",
        )
        decoded: Tensor = pipe.vae.decoded
        return decoded

    def condition(self, samples: Sequence[int], dtype: torch.dtype) -> dict[str, Any]:
        return {"class_labels": torch.tensor([37 * sample for sample in samples])}

    def null(self, count: int, dtype: torch.dtype) -> dict[str, Any]:
        return {"class_labels": torch.full((count,), NULL_LABEL)}


class TinyPixArt(TinyFamily):
    """PixArt-alpha with micro-conditions, or Sigma without."""

    condition_first = False

    def __init__(self, sigma: bool) -> None:
        self.name = "sigma" if sigma else "alpha"
        self.sigma = sigma

    def build(self, num_layers: int) -> Any:
        return PixArtTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=18,  # three micro-conditions share the width
            in_channels=CHANNELS,
            out_channels=2 * CHANNELS,
            num_layers=num_layers,
            cross_attention_dim=36,
            caption_channels=TEXT_WIDTH,
            # The stock alpha pipeline passes micro-conditions to models of this size alone.
            sample_size=SIDE if self.sigma else 128,
            patch_size=1,
            interpolation_scale=1,
            use_additional_conditions=not self.sigma,
        )

    def pipeline(self, scheduler: Any = None, transformer: Any = None, **kwargs: Any) -> Any:
        transformer = self.transformer(**kwargs) if transformer is None else transformer
        kind = PixArtSigmaPipeline if self.sigma else PixArtAlphaPipeline
        pipe = kind(
            tokenizer=None,
            text_encoder=tiny_text_encoder(transformer.dtype),
            vae=tiny_vae(transformer.dtype),
            transformer=transformer,
            scheduler=scheduler or ddim(),
        )
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def generate(
        self,
        pipe: Any,
        samples: Sequence[int] = (1, 2, 3),
        steps: int = 6,
        guidance: float = 2.0,
        size: tuple[int, int] = (SIDE, SIDE),
        **kwargs: Any,
    ) -> Tensor:
        dtype = pipe.transformer.dtype
        embeds, mask = self.text(samples, dtype)
        null_embeds, null_mask = self.text([0] * len(samples), dtype)
        images: Tensor = pipe(
            prompt_embeds=embeds,
            prompt_attention_mask=mask,
            negative_prompt=None,
            negative_prompt_embeds=null_embeds,
            negative_prompt_attention_mask=null_mask,
            guidance_scale=guidance,
            num_inference_steps=steps,
            height=size[0],
            width=size[1],
            generator=seeded(samples),
            use_resolution_binning=False,
            output_type="latent",
            **kwargs,
        ).images
        return images

    def text(self, samples: Sequence[int], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Embeddings `[B, L, D]` of prompts of two to five tokens, and their mask `[B, L]`."""
        drawn = [
            torch.randn(TEXT_LENGTH, TEXT_WIDTH, generator=generator)
            for generator in seeded([1000 + sample for sample in samples])
        ]
        lengths = torch.tensor([2 + sample % (TEXT_LENGTH - 1) for sample in samples])
        mask = torch.arange(TEXT_LENGTH)[None] < lengths[:, None]
        return torch.stack(drawn).to(dtype), mask.to(dtype)

    def condition(self, samples: Sequence[int], dtype: torch.dtype) -> dict[str, Any]:
        embeds, mask = self.text(samples, dtype)
        return {
            "encoder_hidden_states": embeds,
            "encoder_attention_mask": mask,
            "added_cond_kwargs": self._micro_conditions(len(samples), dtype),
        }

    def null(self, count: int, dtype: torch.dtype) -> dict[str, Any]:
        return self.condition([0] * count, dtype)

    def _micro_conditions(self, count: int, dtype: torch.dtype) -> dict[str, Any]:
        if self.sigma:
            return {"resolution": None, "aspect_ratio": None}
        return {
            "resolution": torch.full((count, 2), float(SIDE), dtype=dtype),
            "aspect_ratio": torch.ones(count, 1, dtype=dtype),
        }


def _map_pairs(function: Any, a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _map_pairs(function, value, b[key])
        if isinstance(value, dict)
        else value
        if value is None
        else function(value, b[key])
        for key, value in a.items()
    }


FAMILIES: dict[str, TinyFamily] = {
    "dit": TinyDiT(),
    "alpha": TinyPixArt(sigma=False),
    "sigma": TinyPixArt(sigma=True),
}


def every_family(function: Any) -> Any:
    """Parametrise a test over DiT, PixArt-alpha and PixArt-Sigma."""
    return pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)(function)


def calls_of(target: Any) -> list[Call]:
    """The transformer calls of the last run, with what was decided in each."""
    installation = installation_of(target)
    assert installation is not None
    installation.statistics.settle(0)
    return installation.statistics.calls


def modes(target: Any) -> list[str]:
    """Of the plan's first cache."""
    return [call.sites[0].mode if call.sites else "all" for call in calls_of(target)]


def decisions(target: Any) -> list[tuple[bool, ...]]:
    """Of the plan's first cache."""
    return [call.sites[0].needed if call.sites else () for call in calls_of(target)]
