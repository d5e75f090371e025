"""Text encodings that do not depend on the batch they are made in."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch

_NAMES = ("prompt_embeds", "prompt_attention_mask")


@torch.no_grad()
def encode_each(pipe: Any, prompts: Sequence[str], guided: bool) -> dict[str, Any]:
    """Encode every distinct prompt by itself, and the empty one for guidance.

    A prompt's encoding is then the same to the bit beside whatever others, and duplicates cost
    nothing. Texts go to the tokenizer as they are (it cuts what is too long); captions are not
    "cleaned", which would depend on optional packages.

    Args:
        pipe: a drop-in text-conditional pipeline.
        prompts: B texts.
        guided: whether the unconditional side is needed.

    Returns:
        Arguments of the pipeline's call: embeddings [B, L, D] and masks [B, L].
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

    def encode() -> Any:
        return texts_module.TextEmbeddings(*pipe.encode_prompt([prompt], False))

    # By name: a wheel and a checkout keep the package at different places.
    texts_module = import_module("dit_accel.pipelines.text_embeddings")
    key = ("alone", prompt, pipe._execution_device)
    return pipe.text_embedding_cache.lookup(key, pipe.text_encoder, pipe.tokenizer, encode)
