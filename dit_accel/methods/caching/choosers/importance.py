"""Chooses the tokens with the largest value vectors, and those that have waited long."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dit_accel.forecast.decisions.token_importance import (
    renewed_age,
    scores_of_samples,
    select_tokens,
    value_norms,
    with_local_bonus,
    with_staleness,
)
from dit_accel.methods.caching.choosers.chooser import TokenChooser
from dit_accel.tokens.grid import Grid


@dataclass(frozen=True)
class ImportanceRule:
    """How scores are made; see `dit_accel.forecast.decisions.token_importance`."""

    grid: Grid
    interval: int
    staleness: float
    bonus: float


class ImportanceChooser(TokenChooser):
    """Keeps the norms of the last full step's value vectors, and each token's age."""

    def __init__(self, num_rows: int, rule: ImportanceRule) -> None:
        super().__init__(num_rows)
        self._rule = rule
        self._norms: torch.Tensor | None = None
        self._age: torch.Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of norms and ages."""
        held = (self._norms, self._age)
        return sum(tensor.nbytes for tensor in held if tensor is not None)

    def note(self, signal: torch.Tensor) -> None:
        """Value vectors `[P, N, C]` of a full step, or of the first of equal halves of the rows."""
        if self._norms is None or self._age is None:
            shape = (self.num_rows, signal.shape[1])
            self._norms = torch.zeros(shape, dtype=torch.float32, device=signal.device)
            self._age = torch.zeros_like(self._norms)
        present = slice(self.rows.start, self.rows.stop)
        norms = value_norms(signal.detach())
        # `exact.guidance_rows` runs the first attention on one of two equal halves.
        self._norms[present] = norms.repeat(len(self.rows) // len(norms), 1)
        self._age[present] = 0.0

    def choose(self, count: int) -> torch.Tensor:
        """The highest scores of each sample."""
        assert self._norms is not None and self._age is not None
        present, rule = slice(self.rows.start, self.rows.stop), self._rule
        age = self._age[present]
        scores = with_staleness(self._norms[present], age, rule.interval, rule.staleness)
        scores = scores_of_samples(scores, self.rows_per_sample)
        chosen = select_tokens(with_local_bonus(scores, rule.grid, rule.bonus), count)
        chosen = chosen.repeat(self.rows_per_sample, 1)
        self._age[present] = renewed_age(age, chosen)
        return chosen
