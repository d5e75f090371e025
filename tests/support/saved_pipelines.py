"""Tiny pipelines on disk, in the form that a real one has there."""

from __future__ import annotations

import json
from pathlib import Path

from diffusers import AutoencoderKL, DDIMScheduler, DiTPipeline, DiTTransformer2DModel
from tiny_models import randomise

LABELS = ("cat", "moon", "rocket")


def save_tiny_dit(folder: Path) -> Path:
    """A DiT of three classes: latents of 8 x 8, images of 32 x 32 pixels."""
    transformer = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=4,
        num_layers=4,
        sample_size=8,
        patch_size=1,
        num_embeds_ada_norm=len(LABELS),
    )
    blocks = ("DownEncoderBlock2D",) * 3, ("UpDecoderBlock2D",) * 3
    vae = AutoencoderKL(
        down_block_types=blocks[0],
        up_block_types=blocks[1],
        block_out_channels=(4, 4, 4),
        norm_num_groups=4,
        latent_channels=4,
    )
    scheduler = DDIMScheduler(
        clip_sample=False, prediction_type="v_prediction", timestep_spacing="trailing"
    )
    DiTPipeline(randomise(transformer), randomise(vae, 9), scheduler).save_pretrained(folder)
    _name_labels(folder / "model_index.json")
    return folder


def _name_labels(index: Path) -> None:
    document = json.loads(index.read_text())
    document["id2label"] = {str(number): name for number, name in enumerate(LABELS)}
    index.write_text(json.dumps(document))
