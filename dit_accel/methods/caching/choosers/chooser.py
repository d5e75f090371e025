"""What every chooser has in common: it tells which tokens a feed-forward is computed on."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch


class TokenChooser(ABC):
    """The memory of a token policy for one layer, in one guidance call of one run.

    All rows of a sample compute the same tokens. How many there are follows from step and layer, so
    that the host reads nothing.

    Args:
        num_rows: `R`, rows of the batch.
    """

    def __init__(self, num_rows: int) -> None:
        self.num_rows = num_rows
        self.rows = range(num_rows)
        self.rows_per_sample = 1

    def begin_step(
        self, step: int, rows: range, rows_per_sample: int, device: torch.device
    ) -> None:
        """A forward begins.

        Args:
            step: index of the step.
            rows: the rows that are present; of each sample one, or all of them.
            rows_per_sample: how many of each sample are present.
            device: of the rows.
        """
        self.rows, self.rows_per_sample = rows, rows_per_sample

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes remembered now."""

    @abstractmethod
    def note(self, signal: torch.Tensor) -> None:
        """In a full step, take in what the policy looks at (`TokenPolicy.reads`), `[P, N, C]`."""

    @abstractmethod
    def choose(self, count: int) -> torch.Tensor:
        """The tokens that are computed now, long `[P, count]`; asked once in each other step."""

    def renewed(
        self, current: torch.Tensor, fresh: torch.Tensor, chosen: torch.Tensor
    ) -> torch.Tensor:
        """The outputs of all tokens once some are known.

        Args:
            current: forecast of all, `[P, N, C]`.
            fresh: outputs of the chosen ones, `[P, M, C]`.
            chosen: what `choose` returned, `[P, M]`.
        """
        index = chosen[..., None].expand(-1, -1, current.shape[2])
        return current.scatter(1, index, fresh.to(current.dtype))
