"""Reading the manifests of all ranks, whole or as they grow."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any

from dit_accel.runs.errors import cannot_read
from dit_accel.runs.folder import RunFolder
from dit_accel.runs.records import ImageRecord

_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "str": (str,),
    "float": (float, int),
    "int | None": (int, type(None)),
    "str | None": (str, type(None)),
}
_NAMES = [field.name for field in fields(ImageRecord)]
# The types that the values of a record may have, all at once: one look-up a line.
_SIGNATURES = set(product(*(_TYPES[str(field.type)] for field in fields(ImageRecord))))


class Manifest(dict[int, ImageRecord]):
    """The records of a set by index; of several records of an index, the newest.

    The newest, because a file that was damaged and made again, or made twice at the same time, was
    replaced by the one that came last.

    Attributes:
        skipped_lines: lines that are no records: cut off by a kill, or written by others.
        conflicts: times that a second record of an index told of other pixels than the first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.skipped_lines = 0
        self.conflicts = 0

    def add(self, record: ImageRecord) -> None:
        """Take in one more record."""
        known = self.get(record.index)
        if known is not None:
            self.conflicts += known.sha256 != record.sha256
            if record.time < known.time:
                return
        self[record.index] = record


class ManifestTail:
    """Follows the manifests of a run that goes on: each `refresh` reads only what is new.

    Attributes:
        manifest: all that was read so far.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.manifest = Manifest()
        self._folder = folder
        self._positions: dict[str, int] = {}

    def refresh(self) -> Manifest:
        """Read the lines that were finished since the last call; return all records so far.

        Raises:
            RunFolderError: if a manifest cannot be read.
        """
        for path in _manifest_files(self._folder):
            try:
                self._read_on(path)
            except OSError as error:
                raise cannot_read(path, error) from error
        return self.manifest

    def count(self) -> int:
        """Return how many images of the set have a record by now; refreshes."""
        return len(self.refresh())

    def _read_on(self, path: Path) -> None:
        with path.open("rb") as file:
            file.seek(self._positions.get(path.name, 0))
            # The part behind the last line feed is still being written, or never will be.
            finished, feed, _ = file.read().rpartition(b"\n")
        self._positions[path.name] = self._positions.get(path.name, 0) + len(finished + feed)
        for line in finished.split(b"\n"):
            self._take(line)

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        record = parse_record(line)
        if record is None:
            self.manifest.skipped_lines += 1
        elif 0 <= record.index < self._folder.num_samples:
            self.manifest.add(record)


def read_manifest(folder: RunFolder) -> Manifest:
    """Return the records of all ranks; a dict by index that also counts what was wrong."""
    manifest = ManifestTail(folder).refresh()
    manifest.skipped_lines += sum(_is_half_written(path) for path in _manifest_files(folder))
    return manifest


def count_images(folder: RunFolder) -> int:
    """Return how many images of the set have a record."""
    return len(read_manifest(folder))


def parse_record(line: bytes) -> ImageRecord | None:
    """Return the record that `line` holds, or None if it holds none."""
    try:
        found: Any = json.loads(line)
        values = [found[name] for name in _NAMES]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if tuple(map(type, values)) not in _SIGNATURES:
        return None
    record = ImageRecord(*values)
    # A manifest may come from a stranger: it names nothing outside of its folder.
    inside = not record.file.startswith("/") and ".." not in record.file.split("/")
    return record if inside else None


def _manifest_files(folder: RunFolder) -> list[Path]:
    return sorted(folder.manifest.glob("rank-*.jsonl"))


def _is_half_written(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
