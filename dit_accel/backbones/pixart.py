"""PixArt-alpha and -Sigma (arXiv 2310.00426, 2403.04692): `diffusers.PixArtTransformer2DModel`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from diffusers import PixArtTransformer2DModel
from torch import nn

from dit_accel.backbones.backbone import halves_equal
from dit_accel.backbones.basic_blocks import BasicBlocks
from dit_accel.exact.forward import Rewrite
from dit_accel.exact.single_modulation import SingleModulation
from dit_accel.tokens.grid import Grid


class PixArt(BasicBlocks):
    """Text enters by cross-attention alone; with guidance the rows are `[negative, prompt]`."""

    model_class: ClassVar[type[nn.Module]] = PixArtTransformer2DModel
    row_arguments: ClassVar[tuple[str, ...]] = (
        "attention_mask",
        "encoder_hidden_states",
        "encoder_attention_mask",
        "timestep",
    )
    conditional_first: ClassVar[bool] = False
    guidance_is_certain: ClassVar[bool] = False

    def grid(self, transformer: Any, latents: torch.Tensor) -> Grid:
        """Token grid for latents `[R, C, H, W]`."""
        patch = transformer.config.patch_size
        return Grid(latents.shape[-2] // patch, latents.shape[-1] // patch)

    def text_projection(self, transformer: Any) -> nn.Module | None:
        """`caption_projection`, where the model has one."""
        module: nn.Module | None = transformer.caption_projection
        return module

    def modulations(self, transformer: Any) -> Rewrite:
        """One for all blocks (adaLN-single)."""
        return SingleModulation(transformer)

    def conditions(self, arguments: Mapping[str, Any]) -> list[torch.Tensor | None]:
        """Size `[R, 2]` and aspect ratio `[R, 1]` of the image, for models that ask for them."""
        sizes = (arguments.get("added_cond_kwargs") or {}).values()
        return [size for size in sizes if size is not None]

    def modulated_input(
        self, block: Any, hidden_states: torch.Tensor, arguments: Mapping[str, Any]
    ) -> torch.Tensor:
        """`norm1`, shifted and scaled by the block's table and the modulation `[R, 6C]`."""
        modulation = arguments["timestep"].reshape(len(hidden_states), 6, -1)
        shift, scale = (block.scale_shift_table[None] + modulation)[:, :2].chunk(2, dim=1)
        modulated: torch.Tensor = block.norm1(hidden_states) * (1 + scale) + shift
        return modulated

    def is_guided(
        self, transformer: Any, latents: torch.Tensor, arguments: Mapping[str, Any]
    ) -> bool:
        """Equal latents in both halves."""
        return halves_equal(latents)


BACKBONE = PixArt()
