"""The range of norms that the snapshots of one span had, row by row."""

from __future__ import annotations

import torch

from dit_accel.forecast.decisions.guard import NormRange, plausible, row_norms, widened
from dit_accel.forecast.rows import split_rows


class NormGuard:
    """Judges forecasts; reads nothing to the host.

    Args:
        num_rows: rows of the batch.
        factor: at least 1, how far beyond the range a norm may lie.
    """

    def __init__(self, num_rows: int, factor: float) -> None:
        self._num_rows, self._factor = num_rows, factor
        self._seen: NormRange | None = None

    def note(self, computed: torch.Tensor, first: int, mask: torch.Tensor | None) -> None:
        """Take in what was computed, `[P, N, C]` of the rows from `first` on."""
        norms = row_norms(computed.detach())
        if self._seen is None:
            low = torch.full((self._num_rows,), torch.inf, dtype=norms.dtype, device=norms.device)
            self._seen = NormRange(low, torch.zeros_like(low))
        everywhere = torch.ones_like(norms, dtype=torch.bool)
        rows = slice(first, first + len(norms))
        seen = NormRange(self._seen.low[rows], self._seen.high[rows])
        now = widened(seen, norms, everywhere if mask is None else mask)
        seen.low.copy_(now.low)
        seen.high.copy_(now.high)

    def doubts(self, forecast: torch.Tensor, first: int, rows_per_sample: int) -> torch.Tensor:
        """Bool `[B]`: samples with a row whose forecast `[P, N, C]` is not to be used."""
        assert self._seen is not None
        rows = slice(first, first + len(forecast))
        seen = NormRange(self._seen.low[rows], self._seen.high[rows])
        wrong = ~plausible(row_norms(forecast), seen, self._factor)
        return split_rows(wrong, rows_per_sample).any(dim=0)
