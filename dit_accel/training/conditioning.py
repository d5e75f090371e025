"""What differs between the reference pipelines: their conditions, and the model that takes them."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .latents import LatentBank

Conditions = tuple[Tensor, ...]
"""One row a sample in each."""


class Conditioning(Protocol):
    """How the transformer stage builds, feeds and samples one kind of model."""

    def build_transformer(self, channels: int, sample_size: int) -> nn.Module:
        """The model as training starts with it."""

    def draw(self, crops: Tensor, dropped: Tensor, generator: torch.Generator) -> Conditions:
        """Conditions of the bank's crops ``[B]``; none for the ``dropped`` ``[B]`` ones."""

    def predict(
        self, model: nn.Module, noised: Tensor, timesteps: Tensor, conditions: Conditions
    ) -> Tensor:
        """The model's output ``[B, C, h, w]``."""

    def assemble(self, bank: LatentBank, transformer_weights: list[Tensor]) -> Any:
        """A float32 pipeline around weights in the order of the model's parameters."""

    def preview(self, pipeline: Any, generator: torch.Generator) -> Tensor:
        """One sample a photograph, ``[15, 3, H, W]`` in [-1, 1]."""


def set_weights(model: nn.Module, weights: list[Tensor]) -> None:
    """Give a model weights that are in the order of its parameters."""
    for parameter, value in zip(model.parameters(), weights, strict=True):
        parameter.data.copy_(value)
