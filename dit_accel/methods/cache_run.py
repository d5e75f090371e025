"""The run state of a cache: which rows are computed now, and what is forecast for the others.

One `CacheRun` belongs to one guidance call (`branch`) of one run. The integration asks it before,
inside and after the blocks; it knows tensors `[R, N, C]` and rows, and nothing of any model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch

from dit_accel.forecast.drift import per_sample, relative_l1_change
from dit_accel.methods.cache import CacheConfig, SpanMemory, Timeline
from dit_accel.tokens.grid import Grid

# Fractions of the batch that a partly computed step is padded to, so that shapes stay few.
CAPACITIES = (0.25, 0.5, 1.0)


class CacheRun:
    """Decisions and memories of one branch.

    Attributes:
        mode: whether `all`, `some` or `none` of the rows are computed in this step.
        rows_per_sample: 2 where two guidance rows belong together.
        computed_rows: rows that go through the blocks in this step, padding included.
    """

    def __init__(
        self, config: CacheConfig, num_samples: int, rows_per_sample: int, leader: CacheRun | None
    ) -> None:
        self.config = config
        self.memories: dict[int, SpanMemory] = {}
        self.timelines = [Timeline() for _ in range(num_samples)]
        self.last_computed: int | None = None
        self.mode: Literal["all", "some", "none"] = "all"
        self.need = [True] * num_samples
        self.computed_rows = 0
        self.weights: torch.Tensor | None = None
        self.first_input: torch.Tensor | None = None
        self.rows_per_sample = rows_per_sample
        self._leader = leader
        self._reference: torch.Tensor | None = None
        self._selected = self._place = self._mask = torch.empty(0)
        self._step, self._fraction = 0, 0.0
        self._grid: Grid | None = None

    @property
    def has_history(self) -> bool:
        """Whether every sample was computed at least once."""
        return all(timeline.steps for timeline in self.timelines)

    @property
    def nbytes(self) -> int:
        """Bytes remembered now, the first block's reference included."""
        reference = 0 if self._reference is None else self._reference.nbytes
        # The layers of a span share one memory.
        spans = {id(memory): memory for memory in self.memories.values()}
        return reference + sum(memory.nbytes for memory in spans.values())

    @property
    def num_rows(self) -> int:
        """Batch rows, guidance included."""
        return len(self.timelines) * self.rows_per_sample

    def begin_step(self, step: int, fraction: float, grid: Grid | None) -> None:
        """A forward at `step` begins; `grid` is the coarse grid of its pooled blocks."""
        self._step, self._fraction, self._grid = step, fraction, grid
        # Until it is decided: whoever prepares the blocks must not take the last step's word.
        self.mode = "all"

    def separate_rows(self) -> None:
        """Every row turns out to be a sample of its own; what was decided for two stays."""
        if self.rows_per_sample == 1:
            return
        copies = range(self.rows_per_sample)
        self.timelines = [replace(timeline) for _ in copies for timeline in self.timelines]
        self.need = self.need * self.rows_per_sample
        self.rows_per_sample = 1

    def choose(self, need: list[bool], device: torch.device) -> None:
        """Compute the samples in `need` and forecast the others."""
        self.need = need
        # Weights first: they speak of the history before this step.
        self.weights = None if all(need) else self._weights(device)
        for timeline, needed in zip(self.timelines, need, strict=True):
            if needed:
                timeline.record(self._step, self._grid, self.config.snapshots)
        if any(need):
            self.last_computed = self._step
        self.mode = "all" if all(need) else "some" if any(need) else "none"
        self.computed_rows = {"all": len(need), "none": 0}.get(self.mode, 0) * self.rows_per_sample
        if self.mode == "some":
            self._select(need, device)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def decide(self, hidden_states: torch.Tensor) -> None:
        """First-block rule on the first block's output `[R, N, C]`; one host synchronisation."""
        assert self.first_input is not None
        residual = hidden_states - self.first_input
        self.first_input = None
        if not self.has_history or self._reference is None:
            need = [True] * len(self.timelines)
        elif self._leader is not None:
            need = self._leader.need
        else:
            change = relative_l1_change(residual, self._reference)
            change = per_sample(change, self.rows_per_sample)
            need = self.config.needed(change, self._fraction).tolist()
        self.choose(need, hidden_states.device)
        self._refer(residual)

    def open_span(self, memory: SpanMemory, hidden_states: torch.Tensor) -> torch.Tensor:
        """Rows that enter the span: `[R, N, C] -> [computed rows, N, C]`."""
        memory.start = hidden_states
        return hidden_states[self._selected] if self.mode == "some" else hidden_states

    def close_span(self, memory: SpanMemory, hidden_states: torch.Tensor) -> torch.Tensor:
        """Remember what was computed, forecast the rest: `[computed rows, N, C] -> [R, N, C]`."""
        start, memory.start = memory.start, None
        assert start is not None
        if self.mode == "all":
            memory.remember(hidden_states - start, self.config.snapshots)
            return hidden_states
        assert self.weights is not None
        forecast = start + memory.forecast(self.weights)
        computed = hidden_states[self._place]
        memory.remember_rows(computed - start, self._mask)
        return torch.where(self._mask[:, None, None], computed, forecast)

    def forecast(self, memory: SpanMemory, hidden_states: torch.Tensor) -> torch.Tensor:
        """All rows forecast, `[R, N, C] -> [R, N, C]`."""
        assert self.weights is not None
        return hidden_states + memory.forecast(self.weights)

    def select(self, arguments: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
        """The block arguments `names`, which hold one entry a row, for the computed rows."""
        if self.mode != "some":
            return dict(arguments)
        rows = self._mask.shape[0]
        return {
            name: value[self._selected]
            if name in names and torch.is_tensor(value) and value.shape[0] == rows
            else value
            for name, value in arguments.items()
        }

    def _weights(self, device: torch.device) -> torch.Tensor:
        """`[K]` where all samples agree, else one column a row, `[K, R]`."""
        columns = [
            timeline.weights(self._step, self.config) if timeline.steps else None
            for timeline in self.timelines
        ]
        known = [column for column in columns if column is not None]
        if all(np.array_equal(column, known[0]) for column in known):
            table = known[0]
        else:
            rows = [known[0] if column is None else column for column in columns]
            table = np.tile(np.stack(rows, axis=1), self.rows_per_sample)
        return torch.from_numpy(table).to(self._weight_dtype()).to(device, non_blocking=True)

    def _weight_dtype(self) -> torch.dtype:
        """In which forecasts are summed up: at least float32."""
        snapshots = next(iter(self.memories.values())).snapshots
        return torch.promote_types(snapshots[0].dtype, torch.float32)

    def _select(self, need: list[bool], device: torch.device) -> None:
        """Index tensors of the computed rows, padded to a capacity with a row that is dropped."""
        samples = [sample for sample, needed in enumerate(need) if needed]
        room = (math.ceil(share * len(need)) for share in CAPACITIES)
        capacity = next(size for size in room if size >= len(samples))
        padded = samples + [samples[0]] * (capacity - len(samples))
        place = [samples.index(s) if needed else 0 for s, needed in enumerate(need)]
        offsets = range(self.rows_per_sample)
        rows = [sample + k * len(need) for k in offsets for sample in padded]
        places = [index + k * capacity for k in offsets for index in place]
        self._selected = torch.tensor(rows).to(device, non_blocking=True)
        self._place = torch.tensor(places).to(device, non_blocking=True)
        self._mask = torch.tensor(need * self.rows_per_sample).to(device, non_blocking=True)
        self.computed_rows = len(rows)

    def _refer(self, residual: torch.Tensor) -> None:
        """Computed rows take the new residual as their reference."""
        if self.mode == "all" or self._reference is None:
            self._reference = residual
        elif self.mode == "some":
            mask = self._mask[:, None, None]
            self._reference = torch.where(mask, residual, self._reference)
