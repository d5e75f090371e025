"""Rows that are computed once and looked up: which of them, for how many steps, by whom.

Above a budget of bytes the steps are computed a few at a time, and one at a time at the least. A
timestep that the run did not announce (Heun's midpoint, a bare transformer) is computed alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from dit_accel.exact.forward import Forward, Key

# Of one guidance call. 50 steps of DiT-XL/2 with 8 labels and the null label are 175 MB in 16 bit.
BUDGET_BYTES = 256 * 2**20

Build = Callable[[Sequence[Key]], tuple[torch.Tensor, ...]]


@dataclass(frozen=True)
class _Memory:
    rows: dict[Key, int]
    tables: tuple[torch.Tensor, ...]


class RowTables:
    """Tables of one run, one memory a guidance call.

    Args:
        budget: the most bytes of a memory, though one step's rows are always kept.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._memories: dict[int, _Memory] = {}

    def find(
        self, forward: Forward, upcoming: Sequence[float], row_bytes: int, build: Build
    ) -> tuple[tuple[torch.Tensor, ...], list[int]]:
        """The tables of a forward, and the row of each of its keys in them.

        Args:
            forward: its keys and its branch.
            upcoming: timesteps that are worth being computed ahead.
            row_bytes: bytes of a row, all tables together.
            build: makes keys into tensors of one row a key.
        """
        assert forward.keys is not None
        memory = self._memories.get(forward.branch)
        if memory is None or any(key not in memory.rows for key in forward.keys):
            wanted = keys_to_build(forward.keys, upcoming, self._budget // row_bytes)
            self._memories.pop(forward.branch, None)  # before the new one is there
            rows = {key: row for row, key in enumerate(wanted)}
            memory = self._memories[forward.branch] = _Memory(rows, build(wanted))
        return memory.tables, [memory.rows[key] for key in forward.keys]

    def clear(self) -> None:
        """Free all memories."""
        self._memories = {}

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        memories = self._memories.values()
        return sum(table.nbytes for memory in memories for table in memory.tables)


def keys_to_build(keys: Sequence[Key], upcoming: Sequence[float], most: int) -> list[Key]:
    """The distinct `keys`, and those of the coming steps as long as `most` are not exceeded."""
    distinct = list(dict.fromkeys(keys))
    times = {key[0] for key in distinct}
    if len(times) > 1 or distinct[0][0] not in upcoming:
        return distinct
    conditions = [key[1:] for key in distinct]
    coming = list(dict.fromkeys(upcoming[list(upcoming).index(distinct[0][0]) :]))
    steps = coming[: max(1, most // len(conditions))]
    return [(time, *condition) for time in steps for condition in conditions]


def as_rows(tensor: torch.Tensor, rows: Sequence[Sequence[float]]) -> torch.Tensor:
    """Host values as a tensor like `tensor`, whose first axis the rows are."""
    values = torch.tensor(rows, dtype=tensor.dtype, device=tensor.device)
    return values.reshape(len(rows), *tensor.shape[1:])
