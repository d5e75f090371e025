"""Arrays on disk that are filled once, read by memory map, and filled on after a kill."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap

from dit_accel.errors import DitAccelError
from dit_accel.training.checkpoint import read_json, write_json

PROGRESS_FILE = "progress.json"


class ArrayFolder:
    """Arrays of as many rows each, one file an array.

    Args:
        folder: made where it is missing.
        identity: what decides the contents, JSON-serialisable.

    Attributes:
        done: rows that are complete.

    Raises:
        DitAccelError: the folder holds something else.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        text = json.dumps(identity, sort_keys=True, default=str)
        self._identity = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._arrays: dict[str, Any] = {}
        self.done = 0
        if (folder / PROGRESS_FILE).exists():
            self._continue()

    def _continue(self) -> None:
        progress = read_json(self.folder / PROGRESS_FILE)
        if progress["identity"] != self._identity:
            raise DitAccelError(
                f"{self.folder}: its contents are those of another model or config"
                f" ({progress['identity']}, not {self._identity}); choose another output, or"
                " remove this folder"
            )
        self.done = progress["done"]
        self._arrays = {
            name: open_memmap(self.folder / f"{name}.npy", mode="r+") for name in progress["names"]
        }

    def write(self, total: int, rows: Mapping[str, Any]) -> None:
        """Add rows to every array.

        Args:
            total: rows that there will be in the end.
            rows: by the array's name; NumPy arrays of as many rows.
        """
        if not self._arrays:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._arrays = {
                name: open_memmap(
                    self.folder / f"{name}.npy", "w+", values.dtype, (total, *values.shape[1:])
                )
                for name, values in rows.items()
            }
        count = len(next(iter(rows.values())))
        for name, values in rows.items():
            self._arrays[name][self.done : self.done + count] = values
            self._arrays[name].flush()
        self.done += count
        # Last: rows count once all of them are on the disk.
        progress = {"identity": self._identity, "done": self.done, "names": sorted(rows)}
        write_json(progress, self.folder / PROGRESS_FILE)

    def read(self, name: str, rows: torch.Tensor, *places: int | torch.Tensor) -> torch.Tensor:
        """Some rows `[B]` of an array, in float32 where it holds half precision.

        Args:
            name: of the array.
            rows: `[B]`.
            places: in each row, along the axes after the first: one for all, or `[B]`. Nothing else
                of the rows is read.
        """
        index = (rows.numpy(), *(np.asarray(place) for place in places))
        values = np.ascontiguousarray(self._arrays[name][index])
        found = torch.from_numpy(values)
        return found.float() if found.is_floating_point() else found
