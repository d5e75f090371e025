"""How far the residual of the first blocks has moved since a row was last computed."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dit_accel.forecast.drift import per_sample, relative_l1_change
from dit_accel.methods.caching.judges.judge import Judge, Moment


class FirstBlocksJudge(Judge[torch.Tensor]):
    """Keeps one residual a row, that of the last step in which the row was computed.

    Args:
        num_rows: rows of the batch.
        threshold: largest relative change that is forecast, as a function of the fraction.
    """

    def __init__(self, num_rows: int, threshold: Callable[[float], float]) -> None:
        self._num_rows, self._threshold = num_rows, threshold
        self._reference: torch.Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the residuals."""
        return 0 if self._reference is None else self._reference.nbytes

    def needed(self, signal: torch.Tensor, moment: Moment) -> torch.Tensor | None:
        """By the larger change of a sample's rows."""
        if self._reference is None:
            return None
        change = relative_l1_change(signal, self._reference[moment.rows.start : moment.rows.stop])
        return per_sample(change, moment.rows_per_sample) > self._threshold(moment.fraction)

    def decided(self, signal: torch.Tensor, moment: Moment, computed: torch.Tensor | None) -> None:
        """Computed rows take the new residual as their reference."""
        if self._reference is None:
            self._reference = signal.new_zeros(self._num_rows, *signal.shape[1:])
        present = self._reference[moment.rows.start : moment.rows.stop]
        if computed is not None:
            signal = torch.where(computed[:, None, None], signal, present)
        present.copy_(signal)
