"""A tiny T5 encoder that knows what captions say; trained first, then fixed.

It learns to tell photograph, part, nearness and mirroring from every token of a caption, so that
each token carries the whole meaning in its place; the diffusion transformer then only has to learn
what these look like.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import T5Config, T5EncoderModel

from .captions import (
    PHOTOGRAPHS,
    Description,
    Nearness,
    Part,
    read_caption,
    training_caption,
)
from .config import TextEncoderConfig, TextRecipe
from .loop import Trainer
from .streams import Stream
from .tokenizer import build_tokenizer

_PARTS, _NEARNESSES = list(Part), list(Nearness)
_SIZES = (len(PHOTOGRAPHS), len(_PARTS) + 1, len(_NEARNESSES) + 1, 2)
_SCORED_CAPTIONS = 512


class CaptionReader(nn.Module):
    """The encoder, and heads that read a caption's meaning from it; only the encoder is kept."""

    def __init__(self, encoder: T5EncoderModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(nn.Linear(encoder.config.d_model, size) for size in _SIZES)

    def forward(self, tokens: Tensor, mask: Tensor) -> list[Tensor]:
        """``[B, L]`` tokens and mask to scores ``[B, L, classes]`` of each attribute."""
        hidden = self.encoder(tokens, mask).last_hidden_state
        return [head(hidden) for head in self.heads]


class TextEncoderStage:
    """Trains tokenizer and encoder; complete when ``model`` exists in its folder."""

    def __init__(self, config: TextRecipe, accelerator: Accelerator) -> None:
        self.config = config
        self.stage = config.text_encoder
        self.folder = config.output / "text_encoder"
        self.tokenizer = build_tokenizer(self.stage.max_tokens)
        self.device = accelerator.device
        torch.manual_seed(config.seed)
        reader = CaptionReader(build_text_encoder(self.stage, len(self.tokenizer)))
        self.trainer = Trainer(reader, self.stage.loop, self.folder, accelerator)
        self.reader: CaptionReader = accelerator.unwrap_model(self.trainer.model)

    def run(self) -> None:
        """Train to the end and save the encoder in transformers' format."""
        if (self.folder / "model").exists():
            return
        self.trainer.run(self.loss, self.preview)
        partial = self.folder / "model.partial"
        self.reader.encoder.float().save_pretrained(partial)
        partial.rename(self.folder / "model")

    def loss(self, step: int) -> Tensor:
        """Mean cross entropy of the four attributes, over all tokens of fresh captions."""
        tokens, mask, targets = self._batch(step, self.stage.batch_size)
        scores = self.trainer.model(tokens, mask)
        kept = mask.bool()
        losses = [
            F.cross_entropy(score[kept], target[:, None].expand_as(mask)[kept])
            for score, target in zip(scores, targets, strict=True)
        ]
        return torch.stack(losses).mean()

    @torch.no_grad()
    def preview(self, step: int) -> dict[str, float]:
        """How many captions of another stream have all attributes right, by the mean token."""
        # Steps are counted from 0, so the numbers below are never trained on.
        tokens, mask, targets = self._batch(-1 - step, _SCORED_CAPTIONS)
        weights = mask[..., None] / mask.sum(1)[:, None, None]
        scores = [(score * weights).sum(1) for score in self.reader(tokens, mask)]
        right = [score.argmax(1) == target for score, target in zip(scores, targets, strict=True)]
        return {"captions_understood": float(torch.stack(right).all(0).float().mean())}

    def _batch(self, step: int, count: int) -> tuple[Tensor, Tensor, list[Tensor]]:
        rng = np.random.default_rng((self.config.seed, Stream.CAPTIONS, step % 2**32))
        described = [_random_description(rng) for _ in range(count)]
        texts = [training_caption(description, rng) for description in described]
        tokens, mask = tokenize(self.tokenizer, texts, self.stage.max_tokens)
        targets = torch.tensor([_targets(text) for text in texts], device=self.device)
        return tokens.to(self.device), mask.to(self.device), list(targets.T)


def build_text_encoder(config: TextEncoderConfig, vocabulary_size: int) -> T5EncoderModel:
    """An untrained encoder."""
    shape = config.model_dump(include={"d_model", "d_kv", "d_ff", "num_layers", "num_heads"})
    return T5EncoderModel(
        T5Config(
            vocab_size=vocabulary_size,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            pad_token_id=0,
            eos_token_id=1,
            **shape,
        )
    )


def tokenize(tokenizer: Any, texts: list[str], max_tokens: int) -> tuple[Tensor, Tensor]:
    """Token numbers and mask ``[B, max_tokens]``, as the stock pipeline makes them."""
    encoded = tokenizer(
        texts, padding="max_length", max_length=max_tokens, truncation=True, return_tensors="pt"
    )
    return encoded.input_ids, encoded.attention_mask


def _random_description(rng: np.random.Generator) -> Description:
    return Description(
        PHOTOGRAPHS[rng.integers(len(PHOTOGRAPHS))],
        _PARTS[rng.integers(len(_PARTS))],
        _NEARNESSES[rng.integers(len(_NEARNESSES))],
        bool(rng.integers(2)),
    )


def _targets(text: str) -> tuple[int, int, int, int]:
    """The numbers of what a caption says; the last number of an attribute where it is open."""
    said = read_caption(text)
    return (
        PHOTOGRAPHS.index(str(said.photograph)),
        _PARTS.index(said.part) if said.part else len(_PARTS),
        _NEARNESSES.index(said.nearness) if said.nearness else len(_NEARNESSES),
        int(said.mirrored),
    )
