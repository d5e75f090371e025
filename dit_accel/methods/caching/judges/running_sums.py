"""Estimated changes of each sample, added up since it was last computed."""

from __future__ import annotations

import torch

from dit_accel.forecast.decisions.accumulated_change import accumulate


class RunningSums:
    """Kept row by row: before a scheduler has stepped, two samples may have passed for one.

    Args:
        num_rows: `R`, rows of the batch; sample `b` of `B` owns the rows `b, b + B, …`.
    """

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows
        self._totals: torch.Tensor | None = None
        self._proposed: torch.Tensor | None = None

    def add(self, change: torch.Tensor, threshold: float) -> torch.Tensor:
        """Add this step's change `[B]`; returns which samples have reached the threshold."""
        if self._totals is None:
            self._totals = change.new_zeros(self._num_rows)
        need, self._proposed = accumulate(self._totals[: len(change)], change, threshold)
        return need

    def settle(self, computed: torch.Tensor | None) -> None:
        """Start anew where a row was computed, for whatever reason; all of them if `None`.

        Args:
            computed: bool `[P]`, of the rows that are present; of each sample one, or all of them.
        """
        proposed, self._proposed = self._proposed, None
        if self._totals is None:
            return
        if computed is None or proposed is None:
            self._totals.zero_()
            return
        count = len(proposed)
        sums = torch.where(computed[:count], 0.0, proposed)
        self._totals.copy_(sums.repeat(self._num_rows // count))
