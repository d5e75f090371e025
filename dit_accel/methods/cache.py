"""What every cache has in common: where it remembers (site) and how it forecasts (predictor).

A cache is three independent axes, site x predictor x policy. A *span* `[start, stop)` of blocks is
remembered through its residual, `h_stop - h_start`; raw snapshots are kept, newest first, and
every predictor is a small weight vector over them, computed on the host in float64 from the true
positions of the computed steps (Newton's divided differences; fact sheet on caching, section 2.4).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from dit_accel.forecast.predict import newton_weights, weighted_sum
from dit_accel.methods.config import MethodConfig
from dit_accel.tokens.grid import Grid

CacheAction = Literal["compute", "forecast", "decide"]


class CacheConfig(MethodConfig):
    """Fields shared by all cache policies.

    Args:
        predictor: `reuse` repeats the last computed residual; `polynomial` extrapolates.
        order: degree of the polynomial, 0 to 3. 1 is the safe choice; 3 amplifies rounding.
        damping: share of each further degree that is kept: 1 is exact extrapolation, 0 is reuse.
        site: `model` remembers one residual for the whole network (before the output head); `block`
            one for each block, which costs as many times the memory and no quality is gained.
    """

    # Whether samples are decided one by one, on the first block's output, while the step runs.
    per_sample: ClassVar[bool]

    predictor: Literal["reuse", "polynomial"] = "polynomial"
    order: Annotated[int, Field(ge=0, le=3)] = 1
    damping: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0
    site: Literal["model", "block"] = "model"

    @abstractmethod
    def action(
        self, step: int, last: int | None, fraction: float, num_steps: int | None
    ) -> CacheAction:
        """What is known of `step` before it runs, when `last` was the last computed one."""

    def needed(self, change: torch.Tensor, fraction: float) -> torch.Tensor:
        """Which samples are computed, bool `[B]`, by the change `[B]` of their first block."""
        return torch.ones_like(change, dtype=torch.bool)

    @property
    def snapshots(self) -> int:
        """Tensors kept a span."""
        return 1 if self.predictor == "reuse" else self.order + 1

    def spans(self, num_layers: int, first: int) -> list[range]:
        """The ranges of blocks that are remembered, those before `first` left out."""
        if self.site == "model":
            return [range(first, num_layers)]
        return [range(layer, layer + 1) for layer in range(first, num_layers)]


@dataclass
class SpanMemory:
    """The remembered residuals of one span, `[R, N, C]` each, newest first."""

    snapshots: list[torch.Tensor] = field(default_factory=list)
    start: torch.Tensor | None = None

    def remember(self, residual: torch.Tensor, capacity: int) -> None:
        """Push a residual of all rows; `capacity` are kept."""
        if not self.snapshots:
            # Of full length from the start (unused places weigh nothing): `torch.compile` guards on
            # the length, and a program for each would soon exceed its limit of 8.
            self.snapshots = [torch.zeros_like(residual) for _ in range(capacity)]
        self.snapshots = [residual, *self.snapshots[:-1]]

    def remember_rows(self, residual: torch.Tensor, rows: torch.Tensor) -> None:
        """Push the residuals of the rows where the mask `rows` `[R]` is true."""
        mask, kept = rows[:, None, None], self.snapshots
        pushed = [residual, *kept[:-1]]
        self.snapshots = [torch.where(mask, a, b) for a, b in zip(pushed, kept, strict=True)]

    def forecast(self, weights: torch.Tensor) -> torch.Tensor:
        """Weighted sum of the snapshots; `weights` is `[K]` or one column a row, `[K, R]`."""
        return weighted_sum(self.snapshots, weights)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(tensor.nbytes for tensor in self.snapshots)


@dataclass
class Timeline:
    """At which steps a sample was computed, newest first, and on which token grid."""

    steps: list[int] = field(default_factory=list)
    grids: list[Grid | None] = field(default_factory=list)

    def record(self, step: int, grid: Grid | None, capacity: int) -> None:
        """Note that `step` was computed; a change of grid starts the history anew."""
        if self.grids and self.grids[0] != grid:
            self.steps, self.grids = [], []
        self.steps = [step, *self.steps][:capacity]
        self.grids = [grid, *self.grids][:capacity]

    def weights(self, step: int, config: CacheConfig) -> np.ndarray:
        """Predictor weights for `step`, float64 `[K]`, newest first, zero where unused."""
        padded = np.zeros(config.snapshots)
        order = 0 if config.predictor == "reuse" else config.order
        weights = newton_weights(self.steps, step, order, config.damping)
        padded[: len(weights)] = weights
        return padded
