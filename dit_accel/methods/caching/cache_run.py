"""The run state of a cache over blocks: which rows are computed now, and what the others get.

One `CacheRun` belongs to one cache of the plan and one guidance call (`branch`) of one run. The
integration asks it before, inside and after the blocks; it knows tensors `[P, N, C]` and rows, and
nothing of any model. What it remembers is a `SpanMemory`; what a data-dependent policy remembers, a
`Judge`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch

from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.judges.judge import Moment
from dit_accel.methods.caching.ring import Ring
from dit_accel.methods.caching.row_selection import RowSelection
from dit_accel.methods.caching.span_memory import SpanMemory
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
        token_grid: the grid of the tokens, for predictors that look at it.

    Attributes:
        memory: what is remembered.
        mode: whether `all`, `some` or `none` of the rows present are computed in this step.
        need: whether each sample is.
        guarded: samples that are computed because their forecast could not be trusted.
        computed_rows: rows that go through the blocks in this step, padding included.
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
        token_grid: Grid | None = None,
    ) -> None:
        self.config, self.spans = config, spans
        self.rows_per_sample = rows_per_sample
        self.num_rows = num_samples * rows_per_sample
        self.memory = SpanMemory(config, self.num_rows, spans, token_grid)
        self.last_computed: int | None = None
        self.mode: Mode = "all"
        self.need = [True] * num_samples
        self.guarded: list[bool] = [False] * num_samples
        self.computed_rows = 0
        self.first_input: torch.Tensor | None = None
        self.rows = range(self.num_rows)
        # A follower judges nothing, and need not remember for it.
        self._judge = None if leader is not None else config.policy.judge(self.num_rows)
        self._leader = leader
        self._forced = False
        self._selection: RowSelection | None = None
        self._step, self._fraction = 0, 0.0

    @property
    def num_samples(self) -> int:
        """Samples of the batch."""
        return self.num_rows // self.rows_per_sample

    @property
    def nbytes(self) -> int:
        """Bytes remembered now, those of the policy included."""
        return self.memory.nbytes + (0 if self._judge is None else self._judge.nbytes)

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
        self._step, self._fraction = step, fraction
        self.rows = range(self.num_rows) if rows is None else rows
        # Until it is decided: whoever prepares the blocks must not take the last step's word.
        self.mode = "all"
        self._forced = False
        self.memory.begin_step(step, grid, self.rows, self._present_per_sample)

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
        seen = [self.memory.seen(row) for row in self.rows]
        return [all(seen[sample :: self.num_samples]) for sample in range(self.num_samples)]

    def follow_plan(self, compute: bool, device: torch.device) -> None:
        """A policy that knows the step alone has decided; the guard may object."""
        if compute:  # not where the guard computes a sample: its mates' schedule stays
            self.last_computed = self._step
        known = self._known
        need = [compute or not seen for seen in known]
        self.guarded = [False] * len(need)
        if self.config.guard_factor is not None and not all(need):
            self.memory.weigh(device)
            doubts = self.memory.doubts(self._present_per_sample)
            if doubts is not None:
                need = self._guard(need, doubts.tolist(), known)
        self.choose(need, device)

    def _guard(self, need: list[bool], doubts: list[bool], known: list[bool]) -> list[bool]:
        """Compute also what has a forecast that can't be trusted, and note that it was so."""
        self.guarded = [k and w and not n for k, w, n in zip(known, doubts, need, strict=True)]
        return [n or g for n, g in zip(need, self.guarded, strict=True)]

    def choose(self, need: list[bool], device: torch.device) -> None:
        """Compute the samples in `need` and forecast the others."""
        self.need = need
        if not all(need):
            self.memory.weigh(device)
        self.memory.record([row for row in self.rows if need[row % self.num_samples]], device)
        self.mode = "all" if all(need) else "some" if any(need) else "none"
        self.computed_rows = len(self.rows) if self.mode == "all" else 0
        if self.mode == "some":
            self._selection = RowSelection.of(
                need, self._present_per_sample, device, self.config.deterministic
            )
            self.computed_rows = len(self._selection.gather)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def decide(self, hidden_states: torch.Tensor) -> None:
        """By the residual of the first blocks, on their output `[P, N, C]`; one host read."""
        assert self.first_input is not None
        residual = hidden_states.detach() - self.first_input.detach()
        self.first_input = None
        self.judge(residual, residual.device)

    def force(self) -> None:
        """The policy knows by the step that all is computed; what it looks at is still noted."""
        self._forced = True

    def judge(self, signal: Any, device: torch.device) -> None:
        """Let the policy decide by what it looks at (`Judge.needed`); one host read."""
        moment = Moment(self._step, self._fraction, self.rows, self._present_per_sample)
        self.last_computed = self._step
        known = self._known
        self.guarded = [False] * self.num_samples
        if self._judge is None:
            assert self._leader is not None
            need = self._leader.need
        else:
            judged = self._judge.needed(signal, moment) if self.is_open else None
            need = [True] * len(known) if judged is None else self._read(judged, known)
        need = [n or not k for n, k in zip(need, known, strict=True)]
        self.choose(need, device)
        if self._judge is not None:
            self._judge.decided(signal, moment, self._computed_mask(device))

    @property
    def is_open(self) -> bool:
        """Whether there is anything to decide: a history to forecast from, and no order."""
        return not self._forced and any(self._known)

    @property
    def is_follower(self) -> bool:
        """Whether another run decides."""
        return self._leader is not None

    @property
    def is_told_all(self) -> bool:
        """Whether that one has decided to compute every sample."""
        return self._leader is not None and all(self._leader.need)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def completed(self, output: torch.Tensor) -> None:
        """Show the policy the model's output, `[R, C, H, W]`."""
        assert self._judge is not None
        self._judge.completed(output)

    def _computed_mask(self, device: torch.device) -> torch.Tensor | None:
        if self.mode == "all":
            return None
        if self.mode == "some":
            assert self._selection is not None
            return self._selection.mask
        return torch.zeros(len(self.rows), dtype=torch.bool, device=device)

    def _read(self, judged: torch.Tensor, known: list[bool]) -> list[bool]:
        """What was judged and what the guard doubts, in one read."""
        self.memory.weigh(judged.device)
        doubts = self.memory.doubts(self._present_per_sample)
        need, wrong = torch.stack([judged, judged if doubts is None else doubts]).tolist()
        return self._guard(need, wrong, known)

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
            ring.pending = None  # it was judged, and found wanting
            self.memory.remember(ring, hidden_states - start, start, None)
            return hidden_states
        assert self._selection is not None
        mask = self._selection.mask
        forecast = start + self.memory.forecast(ring, start).to(start.dtype)
        computed = hidden_states[self._selection.place]
        self.memory.remember(ring, computed - start, start, mask)
        return torch.where(mask[:, None, None], computed, forecast)

    def forecast(self, ring: Ring, hidden_states: torch.Tensor) -> torch.Tensor:
        """All rows forecast, `[P, N, C] -> [P, N, C]`."""
        forecast = self.memory.forecast(ring, hidden_states)
        return hidden_states + forecast.to(hidden_states.dtype)

    def select(self, arguments: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
        """The block arguments `names`, which hold one entry a row, for the computed rows."""
        if self.mode != "some" or self._selection is None:
            return dict(arguments)
        return self._selection.arguments(arguments, names)
