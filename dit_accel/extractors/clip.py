"""``clip-vit-l-14``: embeddings of CLIP ViT-L/14 (Radford et al. 2021) at 224 pixels; CLIPScore.

Published CMMD values are of the 336 pixel model; ours, at 224, compare among themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dit_accel.errors import DitAccelError, mismatch
from dit_accel.extractors.extractor import check_images, exact_inference
from dit_accel.extractors.pretrained import load_pretrained
from dit_accel.extractors.resize import short_side_resize
from dit_accel.extractors.weights import find_weights, hub_file

_REPOSITORY = "openai/clip-vit-large-patch14"
CLIP_WEIGHTS = hub_file(
    _REPOSITORY,
    "model.safetensors",
    "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
)
CLIP_TOKENIZER = hub_file(
    _REPOSITORY,
    "tokenizer.json",
    "a83e0809aa4c3af7208b2df632a7a69668c6d48775b3c3fe4e1b1199d1f8b8f4",
)
INPUT_SIZE = 224
# Of CLIP's own training set, in [0, 1].
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)

Tokenizer = Callable[[Sequence[str]], tuple[Tensor, Tensor]]
"""Texts to token ids and attention mask, both ``[B, L]``."""


class CLIPExtractor:
    """Projected image embeddings, not normalised; implements `Extractor`. Texts go in as well.

    Args:
        network: a `transformers.CLIPModel` with the published weights in it.
        tokenizer: makes token ids of texts, loaded when the first text comes.
        device: where the network runs.
    """

    name = "clip-vit-l-14"
    version = "1"
    resize = "PIL bicubic in bytes, short side to 224, then the middle square"
    weights_sha256 = CLIP_WEIGHTS.sha256

    def __init__(
        self, network: Any, tokenizer: Callable[[], Tokenizer], device: str | torch.device = "cpu"
    ) -> None:
        self._device = torch.device(device)
        self._network = network.to(self._device)
        self._load_tokenizer = tokenizer
        self._tokenizer: Tokenizer | None = None
        self.dim = int(network.config.projection_dim)
        self._mean = torch.tensor(_MEAN, device=self._device).view(3, 1, 1)
        self._std = torch.tensor(_STD, device=self._device).view(3, 1, 1)

    @exact_inference()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """See `Extractor.__call__`."""
        check_images(images)
        resized = short_side_resize(images, INPUT_SIZE).to(self._device)
        pixels = (resized.float() / 255 - self._mean) / self._std
        pooled = self._network.vision_model(pixel_values=pixels).pooler_output
        return {"features": self._network.visual_projection(pooled)}

    @exact_inference()
    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """Projected text embeddings ``[B, dim]``, not normalised; texts are cut at 77 tokens.

        Raises:
            WeightsError: the tokenizer's file is not here and cannot be had.
        """
        if self._tokenizer is None:
            self._tokenizer = self._load_tokenizer()
        ids, mask = (part.to(self._device) for part in self._tokenizer(prompts))
        pooled = self._network.text_model(input_ids=ids, attention_mask=mask).pooler_output
        embeddings: Tensor = self._network.text_projection(pooled)
        return embeddings


def clip_score(extractor: CLIPExtractor, images: Tensor, prompts: Sequence[str]) -> Tensor:
    """CLIPScore (Hessel et al. 2021) of each picture with its prompt, on torchmetrics' scale.

    Args:
        extractor: where both embeddings come from.
        images: uint8 ``[B, 3, H, W]``.
        prompts: one a picture.

    Returns:
        ``100 * max(cos, 0)``, float32 ``[B]``. (The paper's own scale is 2.5 instead of 100.)

    Raises:
        DitAccelError: not as many prompts as pictures.
    """
    if len(prompts) != len(images):
        remedy = "every picture is compared with its own prompt"
        raise DitAccelError(f"prompts: {mismatch(len(prompts), f'{len(images)} texts', remedy)}")
    pictures = extractor(images)["features"]
    return 100 * F.cosine_similarity(pictures, extractor.text_features(prompts)).clamp(min=0)


def load_clip(weights: Path | None = None, device: str | torch.device = "cpu") -> CLIPExtractor:
    """Load the extractor.

    Args:
        weights: ``model.safetensors`` or its folder; a folder is where ``tokenizer.json`` (needed
            for texts only) is expected as well.
        device: where the network runs.

    Raises:
        WeightsError: see `find_weights`.
    """
    from transformers import CLIPModel

    network = load_pretrained(CLIPModel, vit_large_14(), find_weights(CLIP_WEIGHTS, weights))
    folder = weights if weights is not None and weights.is_dir() else None
    context = int(network.config.text_config.max_position_embeddings)
    return CLIPExtractor(network, lambda: load_tokenizer(context, folder), device)


def load_tokenizer(context: int, folder: Path | None = None) -> Tokenizer:
    """Load CLIP's byte-pair tokenizer.

    Args:
        context: longer texts are cut so that this many tokens, start and end included, are left.
        folder: where ``tokenizer.json`` is; searched for by default.

    Raises:
        WeightsError: see `find_weights`.
    """
    from tokenizers import Tokenizer as TokenizerFile

    tokenizer = TokenizerFile.from_file(str(find_weights(CLIP_TOKENIZER, folder)))
    tokenizer.enable_truncation(context)
    tokenizer.enable_padding()

    def tokenize(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        encoded = tokenizer.encode_batch(list(texts))
        ids = torch.tensor([one.ids for one in encoded])
        return ids, torch.tensor([one.attention_mask for one in encoded])

    return tokenize


def vit_large_14() -> Any:
    """Config of the published network, a `transformers.CLIPConfig`."""
    from transformers import CLIPConfig

    text = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "projection_dim": 768,
    }
    vision = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": 14,
        "projection_dim": 768,
    }
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=768)
