"""Sites of the families that are stacks of diffusers' `BasicTransformerBlock` (DiT, PixArt)."""

from __future__ import annotations

from typing import Any

from torch import nn


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

    def feed_forward(self, block: Any) -> nn.Module:
        """`ff`."""
        module: nn.Module = block.ff
        return module
