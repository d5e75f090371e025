"""Key/value down-sampling: queries attend to average-pooled image tokens (ToDo, arXiv 2402.13573).

The tokens that keys and values are projected from are pooled, which for the affine projections of
DiT and PixArt equals pooling keys and values themselves and also saves their projection. The
processor in place (SDPA, xformers, LoRA) stays: it is handed the pooled tokens as
`encoder_hidden_states`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch

from dit_accel.attention.downsample import downsample
from dit_accel.methods.cell import Cell
from dit_accel.methods.config import MethodConfig
from dit_accel.methods.registry import register
from dit_accel.schedule import Schedule, within
from dit_accel.span import Span
from dit_accel.tokens.grid import Grid


@dataclass(frozen=True)
class DownsampledKeysValues:
    """Self-attention over keys and values pooled by `factor` along each side of `grid`."""

    grid: Grid
    factor: int

    def keys_values(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`[B, N, C] -> [B, M, C]`."""
        return downsample(hidden_states, self.grid, self.factor)

    def __str__(self) -> str:
        return f"kv/{self.factor}"


@register("attention", kind="kv_downsample")
class KVDownsample(MethodConfig):
    """`attention: {kind: kv_downsample, factor: 2, steps: [0.0, 0.6]}`.

    Args:
        factor: pooling factor along each side, rounded to a whole number (1 is dense; 2 leaves a
            quarter of the keys). Pays above some 1024 tokens, where attention is a real share.
        layers: half-open range of blocks.
        steps: half-open range of steps.
    """

    kind: Literal["kv_downsample"] = "kv_downsample"
    factor: Annotated[Schedule, within(1)] = Schedule.constant(2)
    layers: Span = Span(0.0, 1.0)
    steps: Span = Span(0.0, 1.0)

    def operator(self, cell: Cell) -> DownsampledKeysValues | None:
        """The attention operator of this cell; `None` where attention is dense."""
        factor = round(self.factor.scalar(cell.fraction))
        if factor == 1 or not cell.within(self.layers, self.steps):
            return None
        return DownsampledKeysValues(grid=cell.grid, factor=factor)
