"""Writing the manifest: every process appends to a file of its own, which it holds a lock on."""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from dit_accel.runs.errors import cannot_write
from dit_accel.runs.folder import RunFolder
from dit_accel.runs.records import ImageRecord


class ManifestWriter:
    """Appends one rank's records; of one process, for one thread at a time.

    Attributes:
        path: the file in use, ``manifest/rank-000.jsonl`` as a rule.
        notice: a text to show if that file was not free, else None.
    """

    def __init__(self, folder: RunFolder, rank: int) -> None:
        self.notice: str | None = None
        try:
            folder.manifest.mkdir(parents=True, exist_ok=True)
            self.path, self._descriptor = _open_unused(folder.manifest, rank)
        except OSError as error:
            raise cannot_write(folder.manifest, error) from error
        if self.path.name != _file_name(rank, 1):
            self.notice = (
                f"rank {rank} is in use by another process: writing to {self.path.name}. Blocks "
                "are claimed, so nothing is made twice, but two processes of the same rank are "
                "rarely meant: see --shard"
            )

    def append(self, records: Iterable[ImageRecord]) -> None:
        """Append `records` in one write and wait until they are on the disk.

        Raises:
            RunFolderError: if they cannot be written; a line cut off by that is ended by the next
                append, and skipped by readers.
        """
        lines = "".join(json.dumps(asdict(record)) + "\n" for record in records).encode("ascii")
        try:
            if _ends_half_written(self._descriptor):
                lines = b"\n" + lines
            while lines:
                lines = lines[os.write(self._descriptor, lines) :]
            os.fsync(self._descriptor)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def close(self) -> None:
        """Close the file, and with it let go of the rank; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> ManifestWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _file_name(rank: int, number: int) -> str:
    return f"rank-{rank:03d}.jsonl" if number == 1 else f"rank-{rank:03d}-{number}.jsonl"


def _open_unused(manifest: Path, rank: int) -> tuple[Path, int]:
    """Open the rank's first file that no live process holds (the kernel frees a dead one's)."""
    number = 1
    while True:
        path = manifest / _file_name(rank, number)
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return path, descriptor
        except BlockingIOError:
            os.close(descriptor)
            number += 1
        except OSError:  # a file system without locks: a name that is nobody else's
            os.close(descriptor)
            host = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())
            path = manifest / f"rank-{rank:03d}-{host}-{os.getpid()}.jsonl"
            return path, _open(path)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)


def _ends_half_written(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
