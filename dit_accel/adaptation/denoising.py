"""Whole runs of a pipeline: the teacher's trajectories, and pictures of the student."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from accelerate.utils import convert_to_fp32
from torch import Tensor

from dit_accel.adaptation.conditions import ConditionTable
from dit_accel.adaptation.config import RunConfig
from dit_accel.sampling.batch import ImageBatch, denoise


@dataclass(frozen=True)
class Denoising:
    """Runs as the config says, in the precision that is trained in.

    Attributes:
        table: of the conditions.
        run: their steps and guidance.
        autocast: the accelerator's, entered for every run.
    """

    table: ConditionTable
    run: RunConfig
    autocast: Callable[[], AbstractContextManager[None]]

    @property
    def guided(self) -> bool:
        """Whether every sample has two rows."""
        return self.run.guidance_scale > 1

    def latents(self, pipe: Any, rows: Tensor, seeds: Sequence[int]) -> Tensor:
        """What runs under the conditions `rows` `[B]` end with, `[B, C, h, w]`."""
        transformer = pipe.transformer
        device = next(transformer.parameters()).device
        conditions = self.table.call_arguments(rows, device, self.guided)
        batch = ImageBatch(tuple(seeds), self.run.guidance_scale)
        # As accelerate does to the model that it trains: solvers then step in float32.
        handle = transformer.register_forward_hook(lambda _, args, output: convert_to_fp32(output))
        try:
            with self.autocast():
                return denoise(pipe, batch, conditions, self.run.num_inference_steps)
        finally:
            handle.remove()
