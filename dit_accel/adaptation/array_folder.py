"""Arrays on disk that are filled once, block by block, and read by memory map.

A block of rows is one file an array, renamed into place: it is there as a whole or not at all. So
several processes fill a folder together, one that was killed is gone on with, and a longer set of
samples begins with the blocks of a shorter one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dit_accel.errors import DitAccelError
from dit_accel.runs.atomic import atomic_write, remove_abandoned, write_json_atomically
from dit_accel.training.checkpoint import read_json

IDENTITY_FILE = "identity.json"
# Each has a file descriptor, of which a process may often have a thousand.
_MOST_OPEN = 256


class ArrayFolder:
    """Arrays of as many rows each.

    Args:
        folder: made where it is missing.
        identity: what decides a row, JSON-serialisable; not how many there are.
        names: of the arrays.
        total: rows.
        block: rows a file.

    Attributes:
        blocks: the rows of each.

    Raises:
        DitAccelError: the folder holds something else.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        names: Sequence[str],
        total: int,
        block: int,
    ) -> None:
        self.folder, self.names = folder, tuple(names)
        self.blocks = [range(start, min(start + block, total)) for start in range(0, total, block)]
        self._block = block
        self._opened = lru_cache(maxsize=_MOST_OPEN)(self._open)
        self._claim(identity)

    def _claim(self, identity: Mapping[str, Any]) -> None:
        text = json.dumps(identity, sort_keys=True, default=str)
        wanted = hashlib.sha256(text.encode()).hexdigest()[:16]
        path = self.folder / IDENTITY_FILE
        remove_abandoned(self.folder)
        if not path.exists():
            write_json_atomically(path, {"identity": wanted})
        found = read_json(path)["identity"]
        if found != wanted:
            raise DitAccelError(
                f"{self.folder}: its contents are those of another model or config ({found}, not"
                f" {wanted}); choose another folder (output, or data.cache), or remove this one"
            )

    def has(self, rows: range) -> bool:
        """Whether a block is there."""
        return all(self._path(name, rows).exists() for name in self.names)

    def fill(
        self,
        make: Callable[[range], Mapping[str, np.ndarray]],
        share: tuple[int, int],
        advance: Callable[[int, int], None],
    ) -> None:
        """Make one process's share of what is not there yet.

        Args:
            make: the rows of a block, by the array's name.
            share: which of the blocks: `(process, processes)`.
            advance: told after every block how many are done, and of how many.
        """
        process, processes = share
        own = self.blocks[process::processes]
        for done, rows in enumerate(own, start=1):
            if not self.has(rows):
                for name, values in make(rows).items():
                    with atomic_write(self._path(name, rows), durable=True) as file:
                        np.save(file, values)
            advance(done, len(own))

    def check_complete(self) -> None:
        """After all processes have made their shares.

        Raises:
            DitAccelError: not all blocks are to be seen from here.
        """
        missing = [rows for rows in self.blocks if not self.has(rows)]
        if missing:
            raise DitAccelError(
                f"{self.folder}: {len(missing)} of {len(self.blocks)} files are not to be seen"
                " from this machine, though their processes are done; put output (or data.cache)"
                " on a disk that all machines share"
            )

    def read(self, name: str, rows: torch.Tensor, *places: int | torch.Tensor) -> torch.Tensor:
        """Some rows `[B]` of an array, in float32 where it holds half precision.

        Args:
            name: of the array.
            rows: `[B]`.
            places: in each row, along the axes after the first: one for all, or `[B]`. Nothing else
                of the rows is read.
        """
        spread = [np.broadcast_to(np.asarray(place), len(rows)) for place in places]
        values = [
            self._row(name, row)[tuple(inside)]
            for row, *inside in zip(rows.tolist(), *spread, strict=True)
        ]
        found = torch.from_numpy(np.stack(values))
        return found.float() if found.is_floating_point() else found

    def _row(self, name: str, row: int) -> np.ndarray:
        found: np.ndarray = self._opened(name, row // self._block)[row % self._block]
        return found

    def _open(self, name: str, block: int) -> np.ndarray:
        found: np.ndarray = np.load(self._path(name, self.blocks[block]), mmap_mode="r")
        return found

    def _path(self, name: str, rows: range) -> Path:
        # With how many they are: a shorter last block is another one than that of a longer set.
        return self.folder / f"{name}-{rows.start:08d}-{len(rows)}.npy"
