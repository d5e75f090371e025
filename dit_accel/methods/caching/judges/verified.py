"""Whether what the last block adds to a forecast is what was forecast of it (SpeCa)."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dit_accel.forecast.decisions.verify import accepted
from dit_accel.forecast.drift import per_sample
from dit_accel.methods.caching.judges.judge import Judge, Moment


class VerifiedJudge(Judge[torch.Tensor]):
    """Keeps how often each row was forecast since it was computed.

    Args:
        num_rows: rows of the batch.
        threshold: the largest relative error that is accepted, by the fraction.
        minimum: so many forecasts in a row are accepted whatever their error.
        maximum: no more than so many are.
    """

    def __init__(
        self, num_rows: int, threshold: Callable[[float], float], minimum: int, maximum: int
    ) -> None:
        self._num_rows, self._threshold = num_rows, threshold
        self._minimum, self._maximum = minimum, maximum
        self._in_a_row: torch.Tensor | None = None

    @property
    def nbytes(self) -> int:
        """A number a row."""
        return 0 if self._in_a_row is None else self._in_a_row.nbytes

    def needed(self, signal: torch.Tensor, moment: Moment) -> torch.Tensor | None:
        """By the larger error of a sample's rows, `[P]`."""
        error = per_sample(signal, moment.rows_per_sample)
        before = self._counts(error.device)[: moment.num_samples]
        threshold = self._threshold(moment.fraction)
        return ~accepted(error, before, threshold, self._minimum, self._maximum)

    def decided(
        self, signal: torch.Tensor | None, moment: Moment, computed: torch.Tensor | None
    ) -> None:
        """Count on, or begin anew."""
        if computed is None:
            if self._in_a_row is not None:
                self._in_a_row.zero_()
            return
        counts = self._counts(computed.device)
        count = moment.num_samples
        now = torch.where(computed[:count], 0, counts[:count] + 1)
        counts.copy_(now.repeat(self._num_rows // count))

    def _counts(self, device: torch.device) -> torch.Tensor:
        if self._in_a_row is None:
            self._in_a_row = torch.zeros(self._num_rows, dtype=torch.long, device=device)
        return self._in_a_row
