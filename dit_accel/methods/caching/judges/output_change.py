"""How far the model's output is taken to have moved, by how far its input has (EasyCache).

The maths is `dit_accel.forecast.decisions.easy`. All rows of a sample are looked at together, those
too that a cache at site `guidance` has left out: their latents are known, and their output is a
forecast. Of the output the channels that the latents have count; a learned variance does not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from dit_accel.forecast.decisions.easy import change_rate, expected_change, mean_magnitude
from dit_accel.forecast.rows import split_rows
from dit_accel.methods.caching.judges.judge import Judge, Moment
from dit_accel.methods.caching.judges.running_sums import RunningSums


class OutputChangeJudge(Judge[torch.Tensor]):
    """Keeps the last latents and the last output, and a rate for each sample.

    Args:
        num_rows: rows of the batch.
        threshold: at which sum of expected changes a sample is computed, by the fraction.
    """

    def __init__(self, num_rows: int, threshold: Callable[[float], float]) -> None:
        self._num_rows, self._threshold = num_rows, threshold
        self._sums = RunningSums(num_rows)
        self._latents: torch.Tensor | None = None
        self._output: torch.Tensor | None = None
        self._moved: torch.Tensor | None = None
        self._rate: torch.Tensor | None = None
        self._computed: torch.Tensor | None = None
        self._rows_per_sample = 1

    @property
    def nbytes(self) -> int:
        """Bytes of the latents and the output."""
        kept = (self._latents, self._output)
        return sum(tensor.nbytes for tensor in kept if tensor is not None)

    def needed(self, signal: torch.Tensor, moment: Moment) -> torch.Tensor | None:
        """By the sum of the expected relative changes of each sample's output."""
        if self._latents is None or self._output is None or self._rate is None:
            return None
        self._rows_per_sample = self._num_rows // moment.num_samples
        moved = self._mean(signal - self._latents)
        change = expected_change(self._rate[: len(moved)], moved, self._mean(self._output))
        return self._sums.add(change, self._threshold(moment.fraction))

    def decided(self, signal: torch.Tensor, moment: Moment, computed: torch.Tensor | None) -> None:
        """Keep the latents, and whose rate is to be measured by the output to come."""
        self._sums.settle(computed)
        self._rows_per_sample = self._num_rows // moment.num_samples
        self._computed = None if computed is None else computed[: moment.num_samples]
        signal = signal.detach()
        if self._latents is None:
            self._latents = torch.empty_like(signal)
        else:
            self._moved = self._mean(signal - self._latents)
        self._latents.copy_(signal)

    def completed(self, output: torch.Tensor) -> None:
        """Measure the rate where the output was computed, `[R, C', H, W]`."""
        assert self._latents is not None
        output = output.detach()[:, : self._latents.shape[1]]
        if self._output is None:
            self._output = torch.empty_like(output)
        elif self._moved is not None:
            rate = change_rate(self._mean(output - self._output), self._moved)
            self._note(rate)
        self._output.copy_(output)

    def _note(self, rate: torch.Tensor) -> None:
        if self._rate is None:
            self._rate = rate.new_full((self._num_rows,), torch.nan)  # of no use until measured
        if self._computed is not None:
            rate = torch.where(self._computed, rate, self._rate[: len(rate)])
        self._rate.copy_(rate.repeat(self._rows_per_sample))

    def _mean(self, tensor: torch.Tensor) -> torch.Tensor:
        """Mean absolute value of each sample: `[R, ...] -> [B]`."""
        return split_rows(mean_magnitude(tensor), self._rows_per_sample).mean(dim=0)
