"""What has been measured so far: JSON lines, so that a killed run loses what it was at, no more."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dit_accel.runs.errors import cannot_write

Decibels = tuple[float | None, ...]
"""PSNR of each seed; `None` where the two pictures are identical."""


@dataclass(frozen=True)
class Quality:
    """One row's pictures and cost.

    Attributes:
        entry: name of the row.
        key: hash of whatever decides the figures.
        to_converged: PSNR to the converged run, seed by seed.
        to_reference: PSNR to the dense reference.
        to_own: PSNR to dense of the same solver and steps; `None` for dense rows.
        macs: of the timed batch.
        nbytes: what the cache held at most, of the timed batch.
        provenance: what measured it.
    """

    entry: str
    key: str
    to_converged: Decibels
    to_reference: Decibels
    to_own: Decibels | None
    macs: int
    nbytes: int
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class Round:
    """One round of one process: seconds of each row in it, and the keys they were timed under."""

    process: str
    seconds: Mapping[str, float]
    keys: Mapping[str, str]
    provenance: Mapping[str, Any]


_KINDS: dict[str, type[Quality] | type[Round]] = {"quality": Quality, "round": Round}


class Journal:
    """The file ``frontier.jsonl`` of a frontier's folder.

    Args:
        path: of the file; made when the first line is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Quality | Round) -> None:
        """Add one line, on the disk before this returns.

        Raises:
            RunFolderError: it cannot be written.
        """
        kind = next(name for name, cls in _KINDS.items() if type(record) is cls)
        line = json.dumps({"kind": kind, **asdict(record)}, allow_nan=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                if self._is_cut_off(file):
                    file.write(b"\n")
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise cannot_write(self.path, error) from error

    @staticmethod
    def _is_cut_off(file: Any) -> bool:
        """Whether a killed process left a line without an end."""
        size = file.seek(0, os.SEEK_END)
        if not size:
            return False
        file.seek(size - 1)
        return bool(file.read(1) != b"\n")

    def records(self) -> Iterator[Quality | Round]:
        """All lines that are whole, oldest first."""
        if not self.path.is_file():
            return
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                document = json.loads(line)
            except json.JSONDecodeError:
                continue  # cut off
            kind = _KINDS[document.pop("kind")]
            for name in ("to_converged", "to_reference", "to_own"):
                if document.get(name) is not None:
                    document[name] = tuple(document[name])
            yield kind(**document)

    def quality(self, keys: Mapping[str, str]) -> dict[str, Quality]:
        """The newest line of each row that was measured under its present key."""
        lines = (record for record in self.records() if isinstance(record, Quality))
        return {line.entry: line for line in lines if keys.get(line.entry) == line.key}

    def rounds(self, keys: Mapping[str, str]) -> list[Round]:
        """All rounds, reduced to the rows that were timed under their present key."""
        found = []
        for record in self.records():
            if not isinstance(record, Round):
                continue
            valid = {
                name: seconds
                for name, seconds in record.seconds.items()
                if keys.get(name) == record.keys.get(name)
            }
            if valid:
                found.append(Round(record.process, valid, record.keys, record.provenance))
        return found
