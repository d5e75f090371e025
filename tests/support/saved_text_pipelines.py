"""A tiny text-conditional pipeline on disk, with a text encoder and a tokenizer of its own."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
)
from tiny_models import randomise
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

WORDS = ["<pad>", "</s>", "<unk>", "a", "cat", "dog", "moon", "rocket", "coffee", "on"]


def save_tiny_pixart(folder: Path, num_layers: int = 2) -> Path:
    """A PixArt-alpha with latents of 8 x 8, images of 16 x 16 pixels, and 120 text tokens."""
    transformer = PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=8,
        num_layers=num_layers,
        sample_size=8,
        patch_size=1,
        cross_attention_dim=24,
        caption_channels=16,
        use_additional_conditions=False,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 4),
        norm_num_groups=4,
        latent_channels=4,
    )
    torch.manual_seed(4)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    pipe = PixArtAlphaPipeline(
        tokenizer=_tokenizer(),
        text_encoder=T5EncoderModel(T5Config(vocab_size=len(WORDS), **sizes)),
        vae=randomise(vae, 9),
        transformer=randomise(transformer),
        scheduler=DDIMScheduler(clip_sample=False),
    )
    pipe.save_pretrained(folder)
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
