"""The class-conditional diffusion transformer, before any training."""

from __future__ import annotations

import copy

from diffusers import DiTTransformer2DModel
from torch import nn

from .config import TransformerConfig

NULL_CLASS = 1000  # the stock DiTPipeline hard-codes this label for the unconditional half


def build_transformer(
    config: TransformerConfig, channels: int, sample_size: int
) -> DiTTransformer2DModel:
    """An untrained transformer over ``[B, channels, sample_size, sample_size]`` latents."""
    model = DiTTransformer2DModel(
        num_layers=config.num_layers,
        num_attention_heads=config.num_attention_heads,
        attention_head_dim=config.attention_head_dim,
        patch_size=config.patch_size,
        in_channels=channels,
        out_channels=channels,
        sample_size=sample_size,
        num_embeds_ada_norm=NULL_CLASS,
        attention_bias=True,
    )
    _initialise(model)
    share_embedders(model)
    return model


def share_embedders(model: DiTTransformer2DModel) -> None:
    """Let all blocks use one timestep and label embedder, as in the DiT paper.

    diffusers gives every block its own copy; one that hears from all blocks learns faster.
    """
    first = model.transformer_blocks[0].norm1
    for block in model.transformer_blocks[1:]:
        block.norm1.emb = first.emb


def separate_embedders(model: DiTTransformer2DModel) -> None:
    """Give each block its own copy again: the stock format refuses shared tensors."""
    first = model.transformer_blocks[0].norm1
    for block in model.transformer_blocks[1:]:
        block.norm1.emb = copy.deepcopy(first.emb)


def initialise_layers(model: nn.Module) -> None:
    """DiT's start for every linear layer and embedding."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)


def _initialise(model: DiTTransformer2DModel) -> None:
    """adaLN-Zero: every block starts as the identity and the output as zero."""
    initialise_layers(model)
    zeroed = [block.norm1.linear for block in model.transformer_blocks]
    for module in (*zeroed, model.proj_out_1, model.proj_out_2):
        nn.init.zeros_(module.weight)
