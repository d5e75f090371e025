"""Text encodings that do not depend on the batch they are made in."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch

_NAMES = ("prompt_embeds", "prompt_attention_mask")
_CACHE_BYTES = 256 << 20


def text_tokens(pipe: Any) -> int:
    """Tokens that every prompt is padded and cut to: the pipeline's, or what its tokenizer reads.

    Beyond what the tokenizer's model was trained with there is nothing but padding, which a plan's
    cost should not be measured on. ``Architecture.default_text_tokens`` says the same of a folder.
    """
    return int(min(pipe.default_max_sequence_length, pipe.tokenizer.model_max_length))


def remember_prompts(pipe: Any) -> None:
    """Let a pipeline keep the encodings of as many single prompts as fit into 256 MiB.

    A set comes back to its prompts, to the empty one in every batch; of the largest encoders' texts
    there is room for about a hundred.
    """
    if pipe.text_encoder is None or pipe.tokenizer is None:
        return
    numbers = text_tokens(pipe) * pipe.transformer.config.caption_channels
    cache = pipe.text_embedding_cache
    room = _CACHE_BYTES // (numbers * pipe.text_encoder.dtype.itemsize)
    cache.max_entries = max(cache.max_entries, room)


@torch.no_grad()
def encode_each(pipe: Any, prompts: Sequence[str], guided: bool) -> dict[str, Any]:
    """Encode every distinct prompt by itself, and the empty one for guidance.

    A prompt's encoding is then the same to the bit beside whatever others, and duplicates cost
    nothing. Texts go to the tokenizer as they are (it cuts what is too long; ``prompt_check`` says
    so); captions are not "cleaned", which would depend on optional packages.

    Args:
        pipe: a drop-in text-conditional pipeline.
        prompts: B texts.
        guided: whether the unconditional side is needed.

    Returns:
        Arguments of the pipeline's call: embeddings [B, L, D] and masks [B, L], with L from
        ``text_tokens``.
    """
    nulls = [""] * len(prompts) if guided else []
    encoded = {prompt: _encode(pipe, prompt) for prompt in dict.fromkeys([*prompts, *nulls])}
    arguments: dict[str, Any] = {"negative_prompt": None}
    for place, name in enumerate(_NAMES):
        arguments[name] = torch.cat([encoded[prompt][place] for prompt in prompts])
        if guided:
            arguments[f"negative_{name}"] = torch.cat([encoded[null][place] for null in nulls])
    return arguments


def _encode(pipe: Any, prompt: str) -> Any:
    """Embeddings [1, L, D] and mask [1, L], through the cache of the pipeline."""
    tokens = text_tokens(pipe)

    def encode() -> Any:
        encoded = pipe.encode_prompt([prompt], False, max_sequence_length=tokens)
        return texts_module.TextEmbeddings(*encoded)

    # By name: a wheel and a checkout keep the package at different places.
    texts_module = import_module("dit_accel.pipelines.text_embeddings")
    key = ("alone", prompt, tokens, pipe._execution_device)
    return pipe.text_embedding_cache.lookup(key, pipe.text_encoder, pipe.tokenizer, encode)
