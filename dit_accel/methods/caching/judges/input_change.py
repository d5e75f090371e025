"""How far the first block's modulated input moves from step to step (TeaCache)."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dit_accel.forecast.drift import per_sample, relative_l1_change
from dit_accel.methods.caching.judges.judge import Judge, Moment
from dit_accel.methods.caching.judges.running_sums import RunningSums


class InputChangeJudge(Judge[torch.Tensor]):
    """Keeps the modulated input of the last step in which a row was present, computed or not.

    Args:
        num_rows: rows of the batch.
        rescale: change of the input to change of the output, `[B] -> [B]`.
        threshold: at which sum of rescaled changes a sample is computed, by the fraction.
    """

    def __init__(
        self,
        num_rows: int,
        rescale: Callable[[torch.Tensor], torch.Tensor],
        threshold: Callable[[float], float],
    ) -> None:
        self._num_rows, self._rescale, self._threshold = num_rows, rescale, threshold
        self._sums = RunningSums(num_rows)
        self._previous: torch.Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the modulated inputs."""
        return 0 if self._previous is None else self._previous.nbytes

    def needed(self, signal: torch.Tensor, moment: Moment) -> torch.Tensor | None:
        """By the sum of the changes; in each step that of the row which moved more."""
        if self._previous is None:
            return None
        change = relative_l1_change(signal, self._previous[moment.rows.start : moment.rows.stop])
        change = self._rescale(per_sample(change, moment.rows_per_sample))
        return self._sums.add(change, self._threshold(moment.fraction))

    def decided(self, signal: torch.Tensor, moment: Moment, computed: torch.Tensor | None) -> None:
        """Every row that is present takes its new input as reference."""
        self._sums.settle(computed)
        if self._previous is None:
            self._previous = signal.new_zeros(self._num_rows, *signal.shape[1:])
        self._previous[moment.rows.start : moment.rows.stop].copy_(signal)
