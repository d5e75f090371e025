"""What every judge has in common: it tells which samples are computed, from what they hold now."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

Signal = TypeVar("Signal")


@dataclass(frozen=True)
class Moment:
    """The forward that is judged.

    Attributes:
        step: index of the step.
        fraction: of the run, 0 at its first step and 1 at its last.
        rows: the rows that are present; of each sample one, or all of them.
        rows_per_sample: how many of each sample are present.
    """

    step: int
    fraction: float
    rows: range
    rows_per_sample: int

    @property
    def num_samples(self) -> int:
        """`B`."""
        return len(self.rows) // self.rows_per_sample


class Judge(ABC, Generic[Signal]):
    """The memory of a data-dependent policy in the first guidance call of one run."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes remembered now."""

    @abstractmethod
    def needed(self, signal: Signal, moment: Moment) -> torch.Tensor | None:
        """Which samples are computed, without reading the device; asked where that is open.

        Args:
            signal: what the policy looks at (`Policy.looks_at`), of the rows that are present; the
                latents `[R, C, H, W]` of all rows.
            moment: when.

        Returns:
            Bool `[B]`, or `None` for all of them because there is nothing to go by.
        """

    @abstractmethod
    def decided(self, signal: Signal, moment: Moment, computed: torch.Tensor | None) -> None:
        """Take in what was decided: the rows `computed`, bool `[P]`, all of them if `None`."""

    def completed(self, output: torch.Tensor) -> None:
        """Take in the model's output `[R, C', H, W]`; told to those that look at the latents."""
        return None
