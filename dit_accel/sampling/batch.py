"""One batch of images, made in two halves that can be timed apart: denoise, then decode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from dit_accel.sampling.texts import encode_each


@dataclass(frozen=True)
class ImageBatch:
    """Image ``i`` comes from ``seeds[i]`` and the ``i``-th condition, whatever stands beside it.

    Attributes:
        seeds: one a picture.
        guidance_scale: classifier-free guidance above 1.
        class_labels: one a picture, for class-conditional pipelines.
        prompts: one a picture, for text-conditional pipelines.
    """

    seeds: tuple[int, ...]
    guidance_scale: float
    class_labels: tuple[int, ...] | None = None
    prompts: tuple[str, ...] | None = None

    @property
    def rows(self) -> int:
        """Rows of one transformer forward, guidance rows included."""
        return len(self.seeds) * (2 if self.guidance_scale > 1 else 1)


def encode_text(pipe: Any, batch: ImageBatch) -> dict[str, Any]:
    """Conditions of a batch as arguments of its pipeline; runs its text encoder, if it has one."""
    if batch.prompts is None:
        return {"class_labels": list(batch.class_labels or ())}
    return encode_each(pipe, batch.prompts, batch.guidance_scale > 1)


def denoise(
    pipe: Any,
    batch: ImageBatch,
    conditions: dict[str, Any],
    num_inference_steps: int,
    **size: Any,
) -> torch.Tensor:
    """Run the denoising loop.

    Args:
        pipe: a drop-in pipeline, with whatever plan is installed on it.
        batch: seeds and guidance.
        conditions: what ``encode_text`` returned.
        num_inference_steps: steps of ``pipe.scheduler``.
        **size: height and width in pixels, exactly these; the model's own where left out.

    Returns:
        Latents [B, C, h, w].
    """
    # CPU generators: a seed then means the same noise on every device.
    generators = [torch.Generator().manual_seed(seed) for seed in batch.seeds]
    if batch.prompts is not None:
        size["use_resolution_binning"] = False  # it would go to a nearby size that was trained at
    latents: torch.Tensor = pipe(
        **conditions,
        guidance_scale=batch.guidance_scale,
        generator=generators,
        num_inference_steps=num_inference_steps,
        output_type="latent",
        **size,
    ).images
    return latents


@torch.no_grad()
def decode(pipe: Any, latents: torch.Tensor) -> torch.Tensor:
    """Decode latents [B, C, h, w] to images [B, 3, H, W] in [0, 1], fp32 on the CPU."""
    scaled = (1 / pipe.vae.config.scaling_factor * latents).to(pipe.vae.device, pipe.vae.dtype)
    images: torch.Tensor = pipe.vae.decode(scaled).sample
    return (images.float() / 2 + 0.5).clamp(0, 1).cpu()
