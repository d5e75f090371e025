"""What a cache over blocks remembers, row by row, and the forecasts that are made of it.

Rows, not samples, own histories: of the `R` rows of the batch a call may hold only a range of `P`,
because another cache has left out the unconditional ones. Those keep theirs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.norm_guard import NormGuard
from dit_accel.methods.caching.predictors.predictor import SnapshotPredictor
from dit_accel.methods.caching.present_rows import PresentRows, SpanHistory
from dit_accel.methods.caching.ring import Ring
from dit_accel.methods.caching.timeline import RowTimeline
from dit_accel.tokens.grid import Grid


class SpanMemory:
    """Rings of all spans of one cache, in one guidance call.

    Args:
        config: the cache.
        num_rows: `R`.
        spans: ranges of blocks that are remembered.
        token_grid: the grid of the tokens, for predictors that look at it.

    Attributes:
        rings: the memory of each layer's span.
        timelines: when each row was computed.
        rows: the rows that are present, of all rows of the batch.
        weights: of this step's forecasts, `[K, P]`, and below them those of what enters, `[K + 1]`.
    """

    def __init__(
        self,
        config: CacheConfig,
        num_rows: int,
        spans: list[range],
        token_grid: Grid | None = None,
    ) -> None:
        assert isinstance(config.predictor, SnapshotPredictor)  # others work at site output alone
        self._predictor = config.predictor
        self.config, self.spans, self.num_rows = config, spans, num_rows
        self._token_grid = token_grid
        capacity = config.snapshots
        self.timelines = [RowTimeline(capacity) for _ in range(num_rows)]
        dtype = torch.float32 if config.history == "float32" else None
        self.rings: dict[int, Ring] = {}
        for span in spans:
            ring = Ring(capacity, num_rows, dtype, self._new_guard())
            ring.inputs = Ring(1, num_rows, dtype) if self._predictor.inputs else None
            self.rings.update(dict.fromkeys(span, ring))
        self.rows = range(num_rows)
        self.weights: torch.Tensor | None = None
        self._places: torch.Tensor | None = None
        self._input_places: torch.Tensor | None = None
        self._table: torch.Tensor | None = None
        self._prepared: Any = None
        self._step, self._rows_per_sample = 0, 1
        self._grid: Grid | None = None

    def _new_guard(self) -> NormGuard | None:
        factor = self.config.guard_factor
        return None if factor is None else NormGuard(self.num_rows, factor)

    @property
    def nbytes(self) -> int:
        """Bytes remembered now."""
        # The layers of a span share one memory.
        return sum({id(ring): ring.total_bytes for ring in self.rings.values()}.values())

    def begin_step(
        self, step: int, grid: Grid | None, rows: range, rows_per_sample: int = 1
    ) -> None:
        """A forward of these rows begins, with this coarse grid of its pooled blocks."""
        self._step, self._grid, self.rows = step, grid, rows
        self._rows_per_sample = rows_per_sample
        for ring in self.rings.values():
            ring.start = ring.pending = None

    def seen(self, row: int) -> bool:
        """Whether a row was computed before."""
        return bool(self.timelines[row].steps)

    def weigh(self, device: torch.device) -> None:
        """Settle the weights of this step's forecasts; they speak of the history before it."""
        first, dtype = self.rows.start, next(iter(self.rings.values())).weight_dtype
        predictor = self._predictor
        unseen = (np.empty(0), np.zeros(predictor.inputs))
        made: dict[tuple[int, ...], Any] = {(): unseen}
        columns = []
        for row in self.rows:
            timeline = self.timelines[row]
            steps = timeline.steps[: predictor.snapshots]
            if steps not in made:
                now = steps, self._step
                made[steps] = predictor.weights(*now), predictor.input_weights(*now)
            remembered, entering = made[steps]
            columns.append(np.append(timeline.in_slots(remembered), entering))
        self._prepared = predictor.prepare(self._present, device)
        if self._table is None:  # memory that stays where it is
            shape = (self.config.snapshots + predictor.inputs, self.num_rows)
            self._table = torch.zeros(shape, dtype=dtype, device=device)
        self.weights = self._table[:, first : self.rows.stop]
        self.weights.copy_(torch.from_numpy(np.stack(columns, axis=1)), non_blocking=True)

    @property
    def _present(self) -> PresentRows:
        timelines = self.timelines[self.rows.start : self.rows.stop]
        return PresentRows(timelines, self._step, self._rows_per_sample, self._token_grid)

    @property
    def history(self) -> SpanHistory:
        """What is remembered of the rows that are present, for policies that look at it."""
        rows = slice(self.rows.start, self.rows.stop)
        buffers = (self.rings[span[0]].buffer for span in self.spans)
        present = [buffer[:, rows] for buffer in buffers if buffer is not None]
        return SpanHistory(self.timelines[rows], present)

    def record(self, rows: list[int], device: torch.device) -> None:
        """These rows are computed in this step."""
        for row in rows:
            self.timelines[row].record(self._step, self._grid)
        if rows:
            # Where in the rings each present row's newest snapshot goes.
            places = [self.timelines[row].slot * self.num_rows + row for row in self.rows]
            self._places = torch.tensor(places).to(device, non_blocking=True)
            if self._predictor.inputs:
                self._input_places = torch.tensor(self.rows).to(device, non_blocking=True)

    def doubts(self, rows_per_sample: int) -> torch.Tensor | None:
        """Bool `[B]`: samples whose forecast can't be trusted; `None` where nothing is judged.

        Args:
            rows_per_sample: rows of a sample that are present.
        """
        found = None
        for span in self.spans:
            ring = self.rings[span[0]]
            if ring.guard is None or ring.buffer is None or ring.buffer.device.type == "meta":
                return None
            if ring.pending is None:
                ring.pending = self.forecast(ring, None)
            wrong = ring.guard.doubts(ring.pending, self.rows.start, rows_per_sample)
            found = wrong if found is None else found | wrong
        return found

    def remember(
        self, ring: Ring, residual: torch.Tensor, start: torch.Tensor, mask: torch.Tensor | None
    ) -> None:
        """Take in what was computed of the rows in `mask` `[P]`, all if `None`.

        Args:
            ring: of the span.
            residual: what it adds, `[P, N, C]`.
            start: what enters it, `[P, N, C]`.
            mask: which rows.
        """
        assert self._places is not None
        ring.push(residual, self._places, mask)
        if ring.inputs is not None:
            assert self._input_places is not None
            ring.inputs.push(start, self._input_places, mask)
        if ring.guard is not None:
            ring.guard.note(residual, self.rows.start, mask)

    def forecast(self, ring: Ring, start: torch.Tensor | None = None) -> torch.Tensor:
        """The residual of a span, `[P, N, C]`; `start` is what enters it, where that is known."""
        if ring.pending is not None:
            pending, ring.pending = ring.pending, None
            return pending
        assert self.weights is not None
        assert ring.buffer is not None
        first, stop, kept = self.rows.start, self.rows.stop, ring.capacity
        present = ring.buffer[:, first:stop]
        forecast = self._predictor.combine(present, self.weights[:kept], self._prepared)
        if ring.inputs is None or start is None:
            return forecast
        return ring.inputs.add_change(forecast, start, self.weights[kept], first, stop)
