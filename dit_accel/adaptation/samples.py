"""What one batch of training looks like, wherever it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Noised latents, and what is known of them.

    Attributes:
        states: what the model sees, `[B, C, h, w]`.
        timesteps: of these, `[B]`.
        conditions: rows of the condition table, `[B]`; 0 is none.
        outputs: the teacher's, `[B, Co, h, w]`; `None` if it has to be asked.
        target: of the denoising loss, `[B, C, h, w]`; `None` without clean latents.
    """

    states: Tensor
    timesteps: Tensor
    conditions: Tensor
    outputs: Tensor | None = None
    target: Tensor | None = None


class Source(Protocol):
    """Numbered samples that batches are made of."""

    def __len__(self) -> int:
        """Samples, those held out included."""

    def batch(
        self, samples: Tensor, dropped: Tensor, step: int, generator: torch.Generator
    ) -> Batch:
        """Samples `[B]` at one step of the run; without their condition where `dropped` `[B]`.

        All that is random is drawn from `generator`, for all of the samples in one go.
        """
