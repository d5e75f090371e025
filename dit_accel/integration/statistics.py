"""Counters of one run: what was computed, what was forecast."""

from __future__ import annotations

from dataclasses import dataclass, field

from dit_accel.methods.caching.cache_run import CacheRun
from dit_accel.methods.caching.call_run import CallRun
from dit_accel.methods.caching.module_run import ModuleRun
from dit_accel.methods.caching.token_run import TokenRun
from dit_accel.run_state import Position
from dit_accel.tokens.grid import Grid


@dataclass
class SiteCall:
    """What one cache did in one call.

    Attributes:
        cache: its number in the plan.
        layers: blocks that do not run where it forecasts.
        run: its run state until the call is settled; over blocks, one for each part of them.
        rows: rows that were present at its site; the unconditional ones at site `guidance`.
        mode: whether `all`, `some` or `none` of them were computed.
        computed_rows: rows that were computed, padding included.
        needed: for each sample (each row, where the decision does not depend on samples), whether
            it was computed.
        guarded: for each sample, whether it was because its forecast could not be trusted.
        extent: where layers differ, the share of them (or of modules, or tokens) that ran.
        skipped: blocks that did not run at all.
    """

    cache: int
    layers: frozenset[int]
    run: CallRun | ModuleRun | TokenRun | tuple[CacheRun, ...] | None = field(
        default=None, repr=False
    )
    rows: int = 0
    mode: str = "all"
    computed_rows: int = 0
    needed: tuple[bool, ...] = ()
    guarded: tuple[bool, ...] = ()
    extent: float | None = None
    skipped: frozenset[int] = frozenset()

    @property
    def needed_share(self) -> float:
        """Share of the samples (or rows) that were computed because they had to be."""
        if self.extent is not None:
            return self.extent
        return sum(self.needed) / len(self.needed) if self.needed else 1.0

    @property
    def computed_share(self) -> float:
        """Share of those rows that were computed, padding included."""
        if self.extent is not None:
            return self.extent
        return self.computed_rows / self.rows if self.rows else 1.0

    def settle(self) -> None:
        """Read the decision, which a cache may take while the blocks run."""
        if self.run is None:
            return
        run, self.run = self.run, None
        if isinstance(run, tuple):
            self._settle_blocks(run)
            return
        self.mode, self.needed = run.mode, tuple(run.need)
        if isinstance(run, CallRun):
            self.rows, self.computed_rows = run.num_samples, sum(run.need)
            self.guarded = tuple(run.guarded)
            self.skipped = self.layers if run.mode == "none" else frozenset()
        else:
            self.extent, self.rows = run.extent, len(run.rows)
            self.computed_rows = self.rows if run.mode != "none" else 0

    def _settle_blocks(self, parts: tuple[CacheRun, ...]) -> None:
        run = max(parts, key=lambda part: part.computed_rows)
        self.mode, self.needed, self.guarded = run.mode, tuple(run.need), tuple(run.guarded)
        self.rows, self.computed_rows = len(run.rows), run.computed_rows
        absent = (part.spans for part in parts if part.mode == "none")
        self.skipped = frozenset(x for spans in absent for span in spans for x in span)
        if len(parts) > 1:  # each of them computes all rows, or none
            self.extent = 1.0 - len(self.skipped) / len(self.layers)
            self.mode = "some" if 0.0 < self.extent < 1.0 else run.mode


@dataclass
class Call:
    """One call of the transformer.

    Attributes:
        position: where in the run.
        rows: batch rows, guidance included.
        grid: full token grid.
        text_tokens: text tokens a row, 0 for class-conditional models.
        sites: what each cache did, in the order of the plan; those at work alone.
    """

    position: Position
    rows: int
    grid: Grid
    text_tokens: int = 0
    sites: list[SiteCall] = field(default_factory=list)

    @property
    def skipped_layers(self) -> frozenset[int]:
        """Blocks that did not run at all."""
        return frozenset[int]().union(*(site.skipped for site in self.sites))

    def settle(self) -> None:
        """Read the decisions."""
        for site in self.sites:
            site.settle()


@dataclass
class RunStatistics:
    """All calls of a run, and the most bytes that its cache held."""

    calls: list[Call] = field(default_factory=list)
    cache_bytes: int = 0

    def settle(self, cache_bytes: int) -> None:
        """The last call has ended, and this is what the cache holds now."""
        self.cache_bytes = max(self.cache_bytes, cache_bytes)
        if self.calls:
            self.calls[-1].settle()
