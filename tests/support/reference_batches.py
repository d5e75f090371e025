"""Batches for the shipped pipelines: seeds with classes or with prompts, as the model has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from dit_accel.sampling.batch import ImageBatch, denoise, encode_text

# Of several lengths, with a repeated one, none at all, and words that nobody knows.
PROMPTS = (
    "a close view of the upper left of the astronaut photograph",
    "the cat",
    "",
    "a zebra made of marzipan",
    "the cat",
)
# Pixels a side, 64 tokens: a quarter of what the models are made for, in a quarter of the time.
SMALL = 64


def batch_of(pipe: Any, samples: Sequence[int], guidance: float = 2.0) -> ImageBatch:
    """Sample ``s`` has a seed and a class or prompt of its own, whatever stands beside it."""
    seeds = tuple(100 + sample for sample in samples)
    if hasattr(pipe, "tokenizer"):
        prompts = tuple(PROMPTS[sample % len(PROMPTS)] for sample in samples)
        return ImageBatch(seeds, guidance, prompts=prompts)
    classes = pipe.transformer.config.num_embeds_ada_norm
    return ImageBatch(seeds, guidance, class_labels=tuple(7 * s % classes for s in samples))


def latents_of(
    pipe: Any,
    samples: Sequence[int] = (0,),
    steps: int = 3,
    guidance: float = 2.0,
    side: int = SMALL,
) -> torch.Tensor:
    """Run whatever is installed on the pipeline; latents [B, C, h, w]."""
    batch = batch_of(pipe, samples, guidance)
    return denoise(pipe, batch, encode_text(pipe, batch), steps, height=side, width=side)
