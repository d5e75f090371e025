"""Some rows of a batch: gathered, padded to a few capacities, computed, put back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

# Fractions of the batch that a partly computed step is padded to, so that shapes stay few.
CAPACITIES = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class RowSelection:
    """The rows that are computed in this step.

    Attributes:
        gather: `[G]`, rows that go through the blocks, padding included.
        place: `[P]`, where among those the result of each row lies; anything for the others.
        mask: bool `[P]`, rows that are computed.
    """

    gather: torch.Tensor
    place: torch.Tensor
    mask: torch.Tensor

    @classmethod
    def of(
        cls, need: Sequence[bool], rows_per_sample: int, device: torch.device, whole: bool
    ) -> RowSelection:
        """The rows of the samples in `need`.

        Args:
            need: whether each sample is computed; some are, some are not.
            rows_per_sample: sample `b` of `B` owns the rows `b, b + B, …`.
            device: of the index tensors; copies to it do not make the host wait.
            whole: gather all rows, so that no shape depends on the data.
        """
        count = len(need)
        chosen = [sample for sample, needed in enumerate(need) if needed]
        room = (math.ceil(share * count) for share in CAPACITIES)
        capacity = count if whole else next(size for size in room if size >= len(chosen))
        if whole:
            chosen = list(range(count))
        padded = chosen + [chosen[0]] * (capacity - len(chosen))
        at = {sample: index for index, sample in enumerate(chosen)}
        copies = range(rows_per_sample)
        gather = [sample + k * count for k in copies for sample in padded]
        place = [at.get(sample, 0) + k * capacity for k in copies for sample in range(count)]
        tensors = (torch.tensor(x) for x in (gather, place, list(need) * rows_per_sample))
        return cls(*(tensor.to(device, non_blocking=True) for tensor in tensors))

    def arguments(self, arguments: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
        """The block arguments `names`, which hold one entry a row, for the gathered rows."""
        rows = self.mask.shape[0]
        return {
            name: value[self.gather]
            if name in names and torch.is_tensor(value) and value.shape[0] == rows
            else value
            for name, value in arguments.items()
        }
