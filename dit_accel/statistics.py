"""Counters of one run: what was computed, what was forecast."""

from __future__ import annotations

from dataclasses import dataclass, field

from dit_accel.methods.cache_run import CacheRun
from dit_accel.run_state import Position
from dit_accel.tokens.grid import Grid


@dataclass
class Call:
    """One call of the transformer.

    Attributes:
        position: where in the run.
        rows: batch rows, guidance included.
        grid: full token grid.
        text_tokens: text tokens a row, 0 for class-conditional models.
        cache: run state of the cache until the call is settled.
        first_cached: first block that the cache may leave out.
        mode: whether `all`, `some` or `none` of the rows were computed.
        computed_rows: rows that went through the cached blocks, padding included.
        needed: for each sample (each row, where the decision does not depend on samples), whether
            it was computed; empty without a cache.
    """

    position: Position
    rows: int
    grid: Grid
    text_tokens: int = 0
    cache: CacheRun | None = field(default=None, repr=False)
    first_cached: int = 0
    mode: str = "all"
    computed_rows: int = 0
    needed: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if self.cache is None:
            self.computed_rows = self.rows

    @property
    def needed_share(self) -> float:
        """Share of the samples (or rows) that were computed because they had to be."""
        return sum(self.needed) / len(self.needed) if self.needed else 1.0

    def settle(self) -> None:
        """Read the decision, which a cache may take while the blocks run."""
        if self.cache is not None:
            self.mode, self.computed_rows = self.cache.mode, self.cache.computed_rows
            self.needed = tuple(self.cache.need)
            self.cache = None


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
