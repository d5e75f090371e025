"""The run state of a cache over blocks: which rows are computed now, what the others are.

One `CacheRun` belongs to one cache of the plan and one guidance call (`branch`) of one run. The
integration asks it before, inside and after the blocks; it knows tensors `[P, N, C]` and rows, and
nothing of any model. Rows, not samples, own histories: of the `R` rows of the batch a call may hold
only a range of `P`, because another cache has left out the unconditional ones. Those keep their
history, and are forecast from it or computed when they are there again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch

from dit_accel.forecast.drift import per_sample, relative_l1_change
from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.norm_guard import NormGuard
from dit_accel.methods.caching.ring import Ring
from dit_accel.methods.caching.row_selection import RowSelection
from dit_accel.methods.caching.timeline import RowTimeline
from dit_accel.tokens.grid import Grid

Mode = Literal["all", "some", "none"]


class CacheRun:
    """Decisions and memories of one branch.

    Args:
        config: the cache.
        num_samples: samples of the batch.
        rows_per_sample: 2 where two guidance rows belong together.
        leader: the run of the same cache in the first guidance call, whose decision is taken over.
        spans: ranges of blocks that are remembered.

    Attributes:
        mode: whether `all`, `some` or `none` of the rows present are computed in this step.
        need: whether each sample is.
        guarded: samples that are computed because their forecast could not be trusted.
        computed_rows: rows that go through the blocks in this step, padding included.
        rings: the memory of each layer's span.
        first_input: input of the first block, from there to the decision.
        rows: the rows that are present, of all rows of the batch.
    """

    def __init__(
        self,
        config: CacheConfig,
        num_samples: int,
        rows_per_sample: int,
        leader: CacheRun | None,
        spans: list[range],
    ) -> None:
        self.config, self.spans = config, spans
        self.rows_per_sample = rows_per_sample
        self.num_rows = num_samples * rows_per_sample
        capacity = config.predictor.snapshots
        self.timelines = [RowTimeline(capacity) for _ in range(self.num_rows)]
        dtype = torch.float32 if config.history == "float32" else None
        self.rings: dict[int, Ring] = {}
        for span in spans:
            ring = Ring(capacity, self.num_rows, dtype, self._new_guard())
            self.rings.update(dict.fromkeys(span, ring))
        self.last_computed: int | None = None
        self.mode: Mode = "all"
        self.need = [True] * num_samples
        self.guarded: list[bool] = [False] * num_samples
        self.computed_rows = 0
        self.weights: torch.Tensor | None = None
        self.first_input: torch.Tensor | None = None
        self.rows = range(self.num_rows)
        self._leader = leader
        self._reference: torch.Tensor | None = None
        self._selection: RowSelection | None = None
        self._places: torch.Tensor | None = None
        self._table: torch.Tensor | None = None
        self._step, self._fraction = 0, 0.0
        self._grid: Grid | None = None

    def _new_guard(self) -> NormGuard | None:
        factor = self.config.guard_factor
        return None if factor is None else NormGuard(self.num_rows, factor)

    @property
    def num_samples(self) -> int:
        """Samples of the batch."""
        return self.num_rows // self.rows_per_sample

    @property
    def nbytes(self) -> int:
        """Bytes remembered now, the first blocks' reference included."""
        reference = 0 if self._reference is None else self._reference.nbytes
        # The layers of a span share one memory.
        return reference + sum({id(r): r.nbytes for r in self.rings.values()}.values())

    def begin_step(
        self, step: int, fraction: float, grid: Grid | None, rows: range | None = None
    ) -> None:
        """A forward at `step` begins.

        Args:
            step: index of the step.
            fraction: of the run.
            grid: the coarse grid of its pooled blocks.
            rows: the rows that are present, all if `None`; of each sample one, or all of them.
        """
        self._step, self._fraction, self._grid = step, fraction, grid
        self.rows = range(self.num_rows) if rows is None else rows
        # Until it is decided: whoever prepares the blocks must not take the last step's word.
        self.mode = "all"
        for ring in self.rings.values():
            ring.start = ring.pending = None

    def separate_rows(self) -> None:
        """Every row turns out to be a sample of its own; what was decided for two stays."""
        self.need = self.need * self.rows_per_sample
        self.guarded = self.guarded * self.rows_per_sample
        self.rows_per_sample = 1

    @property
    def _present_per_sample(self) -> int:
        return len(self.rows) // self.num_samples

    @property
    def _known(self) -> list[bool]:
        """Whether all present rows of each sample were computed before."""
        seen = [bool(self.timelines[row].steps) for row in self.rows]
        return [all(seen[sample :: self.num_samples]) for sample in range(self.num_samples)]

    def follow_plan(self, compute: bool, device: torch.device) -> None:
        """A policy that knows the step alone has decided; the guard may object."""
        if compute:  # not where the guard computes a sample: its mates' schedule stays
            self.last_computed = self._step
        known = self._known
        need = [compute or not seen for seen in known]
        doubts = None
        if self.config.guard_factor is not None and not all(need):
            self.weights = self._weights(device)
            doubts = self._doubts()
        if doubts is not None:
            wrong = doubts.tolist()
            self.guarded = [
                seen and not n and w for seen, n, w in zip(known, need, wrong, strict=True)
            ]
            need = [n or g for n, g in zip(need, self.guarded, strict=True)]
        else:
            self.guarded = [False] * len(need)
        self.choose(need, device)

    def choose(self, need: list[bool], device: torch.device) -> None:
        """Compute the samples in `need` and forecast the others."""
        self.need = need
        # Weights first: they speak of the history before this step.
        self.weights = None if all(need) else self._weights(device)
        for row in self.rows:
            if need[row % self.num_samples]:
                self.timelines[row].record(self._step, self._grid)
        self.mode = "all" if all(need) else "some" if any(need) else "none"
        self.computed_rows = len(self.rows) if self.mode == "all" else 0
        if self.mode == "some":
            self._selection = RowSelection.of(
                need, self._present_per_sample, device, self.config.deterministic
            )
            self.computed_rows = len(self._selection.gather)
        if self.mode != "none":
            self._places = self._place_rows(device)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def decide(self, hidden_states: torch.Tensor) -> None:
        """By the residual of the first blocks, on their output `[P, N, C]`; one host read."""
        assert self.first_input is not None
        residual = hidden_states.detach() - self.first_input.detach()
        self.first_input, self.last_computed = None, self._step
        known = self._known
        self.guarded = [False] * self.num_samples
        if self._leader is not None:
            need = [a or not b for a, b in zip(self._leader.need, known, strict=True)]
        elif self._reference is None or not any(known):
            need = [True] * self.num_samples
        else:
            need = self._read_need(residual, known)
        self.choose(need, hidden_states.device)
        self._refer(residual)

    def _read_need(self, residual: torch.Tensor, known: list[bool]) -> list[bool]:
        assert self._reference is not None
        change = relative_l1_change(residual, self._reference[self.rows.start : self.rows.stop])
        change = per_sample(change, self._present_per_sample)
        moved = self.config.policy.needed(change, self._fraction)
        self.weights = self._weights(residual.device)
        doubts = self._doubts()
        both = torch.stack([moved, moved if doubts is None else doubts]).tolist()
        self.guarded = [k and w and not m for k, m, w in zip(known, *both, strict=True)]
        return [m or w or not k for k, m, w in zip(known, *both, strict=True)]

    def _doubts(self) -> torch.Tensor | None:
        """Bool `[B]`: samples whose forecast can't be trusted; `None` where nothing is judged."""
        assert self.weights is not None
        found = None
        for span in self.spans:
            ring = self.rings[span[0]]
            if ring.guard is None or self.weights.device.type == "meta":
                return None
            ring.pending = ring.forecast(self.weights, self.rows.start, self.rows.stop)
            wrong = ring.guard.doubts(ring.pending, self.rows.start, self._present_per_sample)
            found = wrong if found is None else found | wrong
        return found

    def open_span(self, ring: Ring, hidden_states: torch.Tensor) -> torch.Tensor:
        """Rows that enter the span: `[P, N, C] -> [computed rows, N, C]`."""
        ring.start = hidden_states
        if self.mode == "some":
            assert self._selection is not None
            return hidden_states[self._selection.gather]
        return hidden_states

    def close_span(self, ring: Ring, hidden_states: torch.Tensor) -> torch.Tensor:
        """Remember what was computed, forecast the rest: `[computed rows, N, C] -> [P, N, C]`."""
        start, ring.start = ring.start, None
        assert start is not None
        if self.mode == "all":
            residual = hidden_states - start
            self._remember(ring, residual, None)
            return hidden_states
        assert self._selection is not None
        mask = self._selection.mask
        forecast = start + self._forecast(ring).to(start.dtype)
        computed = hidden_states[self._selection.place]
        self._remember(ring, computed - start, mask)
        return torch.where(mask[:, None, None], computed, forecast)

    def _remember(self, ring: Ring, residual: torch.Tensor, mask: torch.Tensor | None) -> None:
        assert self._places is not None
        ring.push(residual, self._places, mask)
        if ring.guard is not None:
            ring.guard.note(residual, self.rows.start, mask)

    def forecast(self, ring: Ring, hidden_states: torch.Tensor) -> torch.Tensor:
        """All rows forecast, `[P, N, C] -> [P, N, C]`."""
        return hidden_states + self._forecast(ring).to(hidden_states.dtype)

    def select(self, arguments: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
        """The block arguments `names`, which hold one entry a row, for the computed rows."""
        if self.mode != "some" or self._selection is None:
            return dict(arguments)
        return self._selection.arguments(arguments, names)

    def _forecast(self, ring: Ring) -> torch.Tensor:
        if ring.pending is not None:
            pending, ring.pending = ring.pending, None
            return pending
        assert self.weights is not None
        return ring.forecast(self.weights, self.rows.start, self.rows.stop)

    def _weights(self, device: torch.device) -> torch.Tensor:
        """One column a present row, `[K, P]`, written into memory that stays where it is."""
        first, dtype = self.rows.start, next(iter(self.rings.values())).weight_dtype
        made: dict[tuple[int, ...], Any] = {(): np.empty(0)}
        columns = []
        for row in self.rows:
            timeline = self.timelines[row]
            if timeline.steps not in made:
                made[timeline.steps] = self.config.predictor.weights(timeline.steps, self._step)
            columns.append(timeline.in_slots(made[timeline.steps]))
        if self._table is None:
            shape = (self.config.predictor.snapshots, self.num_rows)
            self._table = torch.zeros(shape, dtype=dtype, device=device)
        weights = self._table[:, first : self.rows.stop]
        weights.copy_(torch.from_numpy(np.stack(columns, axis=1)), non_blocking=True)
        return weights

    def _place_rows(self, device: torch.device) -> torch.Tensor:
        """Where in the rings each present row's newest snapshot goes, int64 `[P]`."""
        places = [self.timelines[row].slot * self.num_rows + row for row in self.rows]
        return torch.tensor(places).to(device, non_blocking=True)

    def _refer(self, residual: torch.Tensor) -> None:
        """Computed rows take the new residual as their reference."""
        if self._reference is None:
            self._reference = residual.new_zeros(self.num_rows, *residual.shape[1:])
        present = self._reference[self.rows.start : self.rows.stop]
        if self.mode == "all":
            present.copy_(residual)
        elif self.mode == "some":
            assert self._selection is not None
            present.copy_(torch.where(self._selection.mask[:, None, None], residual, present))
