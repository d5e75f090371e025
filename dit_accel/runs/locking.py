"""A short lock around steps of several file operations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

_PATIENCE_SECONDS = 10.0


@contextmanager
def briefly_locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` while the block runs, if it can be had.

    The steps in the block must be safe by themselves (each file appears or is replaced as a
    whole). So a file system without locks, or a suspended process that sits on the lock, is no
    reason to stop: after a few seconds the block runs without it, and the worst that can come of
    that is one block of images made twice.
    """
    lock = FileLock(path)
    with suppress(OSError, NotImplementedError):  # filelock's Timeout is an OSError as well
        lock.acquire(timeout=_PATIENCE_SECONDS)
    try:
        yield
    finally:
        lock.release()
