"""Sites of the families that are stacks of diffusers' `BasicTransformerBlock` (DiT, PixArt)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dit_accel.tokens.grid import Grid
from dit_accel.tokens.positions import sincos


class BasicBlocks:
    """Where a stack of `BasicTransformerBlock` keeps its modules."""

    def blocks(self, transformer: Any) -> list[nn.Module]:
        """The transformer blocks, in order."""
        return list(transformer.transformer_blocks)

    def self_attention(self, block: Any) -> nn.Module:
        """`attn1`."""
        module: nn.Module = block.attn1
        return module

    def cross_attention(self, block: Any) -> nn.Module | None:
        """`attn2`, where there is one: it attends to text."""
        module: nn.Module | None = block.attn2
        return module

    def patch_embedding(self, transformer: Any) -> nn.Module:
        """`pos_embed`, which holds the convolution too."""
        module: nn.Module = transformer.pos_embed
        return module

    def position_embedding(
        self, transformer: Any, rows: torch.Tensor, columns: torch.Tensor, grid: Grid
    ) -> torch.Tensor:
        """diffusers' sin-cos: coordinates are scaled to the grid that the model was made for."""
        patches = transformer.pos_embed
        unit = patches.base_size / patches.interpolation_scale
        channels = transformer.config.num_attention_heads * transformer.config.attention_head_dim
        return sincos(rows * unit / grid.height, columns * unit / grid.width, channels)

    def feed_forward(self, block: Any) -> nn.Module:
        """`ff`."""
        module: nn.Module = block.ff
        return module
