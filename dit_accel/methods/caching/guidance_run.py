"""The run state of a cache at site `guidance`: unconditional rows that are not computed.

With `c` and `u` the transformer's outputs of the conditional and unconditional rows, `c - u` is
remembered where both are computed; where only `c` is, `u = c - forecast(c - u)`. The step alone
decides, so all samples have one history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.call_run import CallRun
from dit_accel.methods.caching.predictors.predictor import SnapshotPredictor
from dit_accel.methods.caching.ring import Ring
from dit_accel.methods.caching.timeline import RowTimeline
from dit_accel.tokens.grid import Grid


@dataclass(frozen=True)
class _Half:
    """The conditional half of an argument, so that equal tensors have equal halves."""

    source: torch.Tensor
    version: int
    half: torch.Tensor


class GuidanceRun(CallRun):
    """One run of a batch whose rows are both guidance rows of each sample.

    Args:
        config: the cache.
        num_samples: samples of the batch.
        conditional_first: whether the conditional rows come first.
    """

    def __init__(self, config: CacheConfig, num_samples: int, conditional_first: bool) -> None:
        super().__init__(config, num_samples, rows_per_sample=2)
        assert isinstance(config.predictor, SnapshotPredictor)  # others work at site output alone
        self._predictor = config.predictor
        first = 0 if conditional_first else num_samples
        self._conditional = range(first, first + num_samples)
        self._timeline = RowTimeline(self._predictor.snapshots)
        dtype = torch.float32 if config.history == "float32" else None
        self._ring = Ring(self._predictor.snapshots, num_samples, dtype)
        if self._predictor.inputs:
            self._ring.inputs = Ring(1, num_samples, dtype)
        self._table: torch.Tensor | None = None
        self._places: torch.Tensor | None = None
        self._halves: dict[str, _Half] = {}

    @property
    def rows(self) -> range:
        """The rows that are present."""
        return range(self.num_rows) if self.mode == "all" else self._conditional

    @property
    def nbytes(self) -> int:
        """Bytes remembered now."""
        return self._ring.total_bytes

    def begin_step(
        self, step: int, compute: bool, device: torch.device, grid: Grid | None = None
    ) -> None:
        """The policy has decided on `step`; without a history it is computed.

        A coarse `grid` of its blocks other than that of the history starts it anew.
        """
        timeline = self._timeline
        if compute or not timeline.steps:
            timeline.record(step, grid)
            self.mode, self.last_computed = "all", step
            self._places = self._ring.places(timeline.slot, device)
            return
        self.mode = "none"
        predictor, now = self._predictor, (timeline.steps, step)
        remembered = timeline.in_slots(predictor.weights(*now))
        weights = np.append(remembered, predictor.input_weights(*now))
        if self._table is None:
            dtype = self._ring.weight_dtype
            self._table = torch.zeros(weights.shape, dtype=dtype, device=device)
        self._table.copy_(torch.from_numpy(weights), non_blocking=True)

    def arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The transformer's arguments for the conditional rows alone."""
        return {name: self._half(name, value) for name, value in arguments.items()}

    def _half(self, name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: self._half(f"{name}.{key}", item) for key, item in value.items()}
        if not torch.is_tensor(value) or value.ndim == 0 or len(value) != self.num_rows:
            return value
        # Exact rewrites know tensors by identity; a fresh half would be read anew in each step.
        known = self._halves.get(name)
        version = -1 if value.is_inference() else value._version
        if known is not None and known.source is value and known.version == version >= 0:
            return known.half
        half = value[self._conditional.start : self._conditional.stop]
        if name != "hidden_states":
            self._halves[name] = _Half(value, version, half)
        return half

    def complete(self, output: torch.Tensor) -> torch.Tensor:
        """Remember, or put the unconditional rows back: `[P, C, H, W] -> [R, C, H, W]`."""
        if self.mode == "all":
            first, second = output.chunk(2)
            conditional_first = self._conditional.start == 0
            difference = first - second if conditional_first else second - first
            self._remember(difference, first if conditional_first else second)
            return output
        forecast = self._forecast(output)
        null = output - forecast.to(output.dtype)
        rows = [output, null] if self._conditional.start == 0 else [null, output]
        return torch.cat(rows)

    def _remember(self, difference: torch.Tensor, conditional: torch.Tensor) -> None:
        assert self._places is not None
        self._ring.push(difference.flatten(2), self._places)
        if self._ring.inputs is not None:
            places = self._places % self.num_samples
            self._ring.inputs.push(conditional.flatten(2), places)

    def _forecast(self, conditional: torch.Tensor) -> torch.Tensor:
        """The difference, from what is remembered and the present conditional output."""
        assert self._table is not None
        kept, ring = self._ring.capacity, self._ring
        forecast = ring.forecast(self._table[:kept], 0, self.num_samples)
        if ring.inputs is not None:
            entering, factor = conditional.flatten(2), self._table[kept:]
            forecast = ring.inputs.add_change(forecast, entering, factor, 0, self.num_samples)
        return forecast.reshape(conditional.shape)
