"""Claims: which process works on which block of indices, without any process group.

A claim is a small file ``claims/000012.json``. It is void when its process is known to be dead
(same machine) or when it was not renewed for a whole lease (any machine). A claim only saves work:
if two processes make the same block after all, they make the same images, and each file is
replaced as a whole.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from dit_accel.runs.atomic import atomic_write, create_exclusively
from dit_accel.runs.errors import RunFolderError, cannot_read, cannot_write
from dit_accel.runs.folder import RunFolder
from dit_accel.runs.locking import briefly_locked
from dit_accel.runs.process import Process, this_process


class _Claim(NamedTuple):
    board: str | None  # None: the file is damaged, so that only its age counts
    owner: Process | None
    renewed: float  # by the file system's clock
    name: str | None  # of the owner, for people


class ClaimBoard:
    """One process's view of the claims of a run; also a context manager that gives them back.

    Attributes:
        lost: blocks that were taken over because this process had not renewed its claim, which
            happens to a process that was suspended.
    """

    def __init__(self, folder: RunFolder, owner: int, lease_seconds: float = 120.0) -> None:
        """Join the board of `folder` as rank `owner`.

        A claim that its owner did not renew for `lease_seconds` is void.

        Raises:
            RunFolderError: here and in `claim`, if the folder of claims cannot be written.
        """
        self.lost: set[int] = set()
        self._folder = folder.claims
        self._rank = owner
        self._lease = lease_seconds
        self._name = uuid.uuid4().hex
        self._held: set[int] = set()
        self._closing = threading.Event()
        self._heartbeat: threading.Thread | None = None
        self._probe = self._folder / f".clock.{this_process().tag}.{self._name[:8]}.tmp"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self._folder, error) from error

    def claim(self, block_index: int) -> bool:
        """Return whether this process may work on the block from now on (or already did)."""
        if block_index in self._held:
            return True
        # A look first: ranks that wait for each other's last blocks ask every second, and must not
        # keep those that work from the lock.
        if self.is_held_by_other(block_index):
            return False
        path = self._path(block_index)
        content = self._content(block_index)
        with briefly_locked(self._folder / ".lock"):
            taken = create_exclusively(path, content)
            if not taken and self._is_void(path):
                with atomic_write(path) as file:
                    file.write(content)
                taken = True
        if taken:
            self._held.add(block_index)
            self.lost.discard(block_index)
            self._start_heartbeat()
        return taken

    def release(self, block_index: int) -> None:
        """Give the block back; nothing happens if this process does not hold it."""
        self._held.discard(block_index)
        path = self._path(block_index)
        with briefly_locked(self._folder / ".lock"):
            claim = _read(path)
            if claim is not None and claim.board == self._name:
                with suppress(FileNotFoundError):
                    path.unlink()

    def is_held_by_other(self, block_index: int) -> bool:
        """Return whether another process works on the block, as far as can be known."""
        path = self._path(block_index)
        claim = _read(path)
        return claim is not None and claim.board != self._name and not self._is_void(path)

    def holder(self, block_index: int) -> str | None:
        """Return which other process has a claim on the block, void or not; None if none has."""
        claim = _read(self._path(block_index))
        return None if claim is None or claim.board == self._name else claim.name

    def close(self) -> None:
        """Give back all blocks and stop renewing; a second call does nothing."""
        self._closing.set()
        if self._heartbeat is not None:
            self._heartbeat.join()
        for block_index in sorted(self._held):
            self.release(block_index)
        with suppress(OSError):
            self._probe.unlink()

    def __enter__(self) -> ClaimBoard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _path(self, block_index: int) -> Path:
        return self._folder / f"{block_index:06d}.json"

    def _content(self, block_index: int) -> bytes:
        process = this_process()
        claim = {
            "block": block_index,
            "rank": self._rank,
            "host": socket.gethostname(),
            "pid": process.pid,
            "process": process.tag,
            "board": self._name,
            "time": time.time(),
        }
        return (json.dumps(claim) + "\n").encode()

    def _is_void(self, path: Path) -> bool:
        claim = _read(path)
        if claim is None:
            return True
        if claim.owner is not None and claim.owner.is_known_dead():
            return True
        return self._now() - claim.renewed > self._lease

    def _now(self) -> float:
        """Return the file system's time: the clocks of two hosts may be minutes apart."""
        try:
            self._probe.touch()
            return self._probe.stat().st_mtime
        except OSError as error:
            raise cannot_write(self._probe, error) from error

    def _start_heartbeat(self) -> None:
        if self._heartbeat is None:
            name = f"claims of rank {self._rank}"
            self._heartbeat = threading.Thread(target=self._renew_forever, name=name, daemon=True)
            self._heartbeat.start()

    def _renew_forever(self) -> None:
        while not self._closing.wait(self._lease / 4):
            for block_index in tuple(self._held):
                with suppress(OSError, RunFolderError):  # a file system's hiccup: try next time
                    self._renew(block_index)

    def _renew(self, block_index: int) -> None:
        path = self._path(block_index)
        claim = _read(path)
        if claim is not None and claim.board == self._name:
            os.utime(path)
        elif block_index in self._held:  # not released in the meantime
            self._held.discard(block_index)
            self.lost.add(block_index)


def _read(path: Path) -> _Claim | None:
    """Return the claim at `path`, or None if there is none."""
    try:
        # Opened, not only asked for its status: that makes a network file system look again.
        with path.open("rb") as file:
            renewed = os.fstat(file.fileno()).st_mtime
            text = file.read()
    except OSError as error:
        # Stale: NFS, of a file that another host removed between our opening and our reading it.
        if error.errno in (errno.ENOENT, errno.ESTALE):
            return None
        raise cannot_read(path, error) from error
    try:
        document: Any = json.loads(text)
        name = f"rank {document['rank']} (process {document['pid']} on {document['host']})"
        return _Claim(str(document["board"]), Process.from_tag(document["process"]), renewed, name)
    except (ValueError, TypeError, KeyError):
        return _Claim(None, None, renewed, None)
