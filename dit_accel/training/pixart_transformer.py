"""The text-conditional transformer, started from a trained class-conditional one.

PixArt-alpha (Chen et al. 2023, arXiv:2310.00426, section 2.3) starts from a DiT that knows pictures
already, and re-parameterises its adaLN: one network of the timestep for all blocks, and a table of
offsets for each.  There the tables are matched at one timestep; here network and tables are fitted
to the DiT's modulations of the unconditional class over all timesteps.
"""

from __future__ import annotations

import torch
from diffusers import DiTTransformer2DModel, PixArtTransformer2DModel
from torch import Tensor, nn

from .config import TransformerConfig
from .dit_transformer import NULL_CLASS, initialise_layers

_KEPT_IN_BLOCKS = ("attn1", "ff")


def build_pixart(
    config: TransformerConfig, channels: int, sample_size: int, caption_channels: int
) -> PixArtTransformer2DModel:
    """A transformer over ``[B, channels, sample_size, sample_size]`` latents, before any training.

    Its cross-attention starts as zero, so that the texts say nothing yet.
    """
    model = PixArtTransformer2DModel(
        num_layers=config.num_layers,
        num_attention_heads=config.num_attention_heads,
        attention_head_dim=config.attention_head_dim,
        patch_size=config.patch_size,
        in_channels=channels,
        out_channels=channels,
        sample_size=sample_size,
        cross_attention_dim=config.num_attention_heads * config.attention_head_dim,
        caption_channels=caption_channels,
        use_additional_conditions=False,
    )
    initialise_layers(model)
    for block in model.transformer_blocks:
        nn.init.zeros_(block.attn2.to_out[0].weight)
    return model


@torch.no_grad()
def start_from_dit(model: PixArtTransformer2DModel, dit: DiTTransformer2DModel) -> None:
    """Take over everything that a DiT of the same shape knows of unconditional pictures."""
    model.pos_embed.load_state_dict(dit.pos_embed.state_dict())
    model.proj_out.load_state_dict(dit.proj_out_2.state_dict())
    for block, source in zip(model.transformer_blocks, dit.transformer_blocks, strict=True):
        for name in _KEPT_IN_BLOCKS:
            getattr(block, name).load_state_dict(getattr(source, name).state_dict())
    _take_timestep_embedder(model, dit)
    _fit_modulations(model, dit)


def _take_timestep_embedder(model: PixArtTransformer2DModel, dit: DiTTransformer2DModel) -> None:
    """DiT adds a class to the embedded timestep: the null class becomes part of the bias.

    The two classes of diffusers project timesteps to slightly different frequencies
    (``downscale_freq_shift`` 1 and 0); a least-squares fit of this layer to them changed the start
    of ``pixart-photos`` by less than 1 %, so the weights are taken as they are.
    """
    source = dit.transformer_blocks[0].norm1.emb
    embedder = model.adaln_single.emb.timestep_embedder
    embedder.load_state_dict(source.timestep_embedder.state_dict())
    embedder.linear_2.bias += source.class_embedder.embedding_table.weight[NULL_CLASS]


def _fit_modulations(model: PixArtTransformer2DModel, dit: DiTTransformer2DModel) -> None:
    """The mean of the blocks' networks for all; each block's mean distance from it in its table."""
    networks = [block.norm1.linear for block in dit.transformer_blocks]
    shared = model.adaln_single.linear
    shared.weight.copy_(torch.stack([network.weight for network in networks]).mean(0))
    shared.bias.copy_(torch.stack([network.bias for network in networks]).mean(0))
    embedded = _embedded_timesteps(model)
    active = nn.functional.silu(embedded)
    for block, network in zip(model.transformer_blocks, networks, strict=True):
        rest = (network(active) - shared(active)).mean(0)
        block.scale_shift_table.copy_(rest.view_as(block.scale_shift_table))
    # The last modulation is the embedding itself plus a table.
    last = (dit.proj_out_1(active) - embedded.repeat(1, 2)).mean(0)
    model.scale_shift_table.copy_(last.view_as(model.scale_shift_table))


def _embedded_timesteps(model: PixArtTransformer2DModel) -> Tensor:
    """Embeddings ``[1000, D]`` of all timesteps."""
    embedding = model.adaln_single.emb
    embedded: Tensor = embedding.timestep_embedder(embedding.time_proj(torch.arange(1000)))
    return embedded
