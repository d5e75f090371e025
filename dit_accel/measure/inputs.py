"""Arguments for one transformer forward, of the shapes a pipeline would give it."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import PixArtTransformer2DModel

# PixArt pads every prompt: alpha to 120 tokens, Sigma to 300.
DEFAULT_TEXT_TOKENS = 120


def forward_inputs(
    transformer: Any,
    rows: int,
    latent_size: tuple[int, int] | None = None,
    text_tokens: int = DEFAULT_TEXT_TOKENS,
    generator: torch.Generator | None = None,
) -> dict[str, Any]:
    """Keyword arguments of one forward on the transformer's own device and dtype.

    Args:
        transformer: a DiT or PixArt transformer; on the meta device the inputs are shapes only.
        rows: batch rows, guidance rows included.
        latent_size: height and width of the latent in cells; the native square by default.
        text_tokens: text tokens a row (text-conditional models only).
        generator: source of the random values; every call of one model draws in the same order.

    Returns:
        ``hidden_states`` [rows, C, h, w], ``timestep`` [rows] and the model's conditions.
    """
    device = next(transformer.parameters()).device
    size = latent_size or (transformer.config.sample_size,) * 2
    shape = (rows, transformer.config.in_channels, *size)
    inputs: dict[str, Any] = {
        "hidden_states": _normal(shape, transformer, generator),
        "timestep": torch.full((rows,), 500, device=device),
    }
    if isinstance(transformer, PixArtTransformer2DModel):
        return inputs | _text_conditions(transformer, rows, text_tokens, size, generator)
    labels = torch.arange(rows, device=device) % transformer.config.num_embeds_ada_norm
    return inputs | {"class_labels": labels}


def _text_conditions(
    transformer: Any,
    rows: int,
    text_tokens: int,
    size: tuple[int, int],
    generator: torch.Generator | None,
) -> dict[str, Any]:
    device = next(transformer.parameters()).device
    text = (rows, text_tokens, transformer.config.caption_channels)
    conditions: dict[str, Any] = {"resolution": None, "aspect_ratio": None}
    if transformer.use_additional_conditions:
        pixels = torch.tensor([[8.0 * size[0], 8.0 * size[1]]]).expand(rows, 2)
        conditions = {
            "resolution": pixels.to(device, transformer.dtype),
            "aspect_ratio": torch.full((rows, 1), size[0] / size[1]).to(device, transformer.dtype),
        }
    return {
        "encoder_hidden_states": _normal(text, transformer, generator),
        "encoder_attention_mask": torch.ones(rows, text_tokens, device=device),
        "added_cond_kwargs": conditions,
    }


def _normal(
    shape: tuple[int, ...], transformer: Any, generator: torch.Generator | None
) -> torch.Tensor:
    if next(transformer.parameters()).device.type == "meta":
        return torch.empty(shape, dtype=transformer.dtype, device="meta")
    # Drawn on the CPU in fp32, so that every device and dtype starts from the same values.
    values = torch.randn(shape, generator=generator)
    return values.to(next(transformer.parameters()).device, transformer.dtype)
