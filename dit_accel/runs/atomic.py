"""Files that are there as a whole or not at all.

Everything is written to a temporary file in the same folder, then renamed. The temporary file's
name tells whose it is, so that what a killed process left can be told from what is in the making.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from dit_accel.runs.errors import cannot_write
from dit_accel.runs.process import Process, this_process

_SUFFIX = ".tmp"
# Whether a process of another machine still lives cannot be asked; no write takes this long.
_FOREIGN_AGE_SECONDS = 24 * 3600.0
_numbers = itertools.count()


@contextmanager
def atomic_write(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """Yield a binary file that becomes `path` when the block ends without an error.

    Folders on the way are made. `durable` waits until the bytes are on the disk, which a power cut
    asks for and a killed process does not.

    Raises:
        RunFolderError: if the file cannot be written, a full disk for instance; `path` is then
            what it was before.
    """
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            yield file
            _finish(file, durable)
        os.replace(temporary, path)
    except BaseException as error:  # Ctrl-C as well
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def create_exclusively(path: Path, content: bytes) -> bool:
    """Write `path` as a whole unless it exists; return whether this call made it.

    Of several processes, on any number of hosts, exactly one gets True.
    """
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            file.write(content)
            _finish(file, durable=True)
        return _link(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_json_atomically(path: Path, obj: Any) -> None:
    """Write `obj` as indented JSON to `path`, all or nothing.

    Raises:
        RunFolderError: if the file cannot be written.
        ValueError: if `obj` holds a number that JSON has no form for (NaN, infinity).
    """
    with atomic_write(path, durable=True) as file:
        file.write(json_bytes(obj))


def json_bytes(obj: Any) -> bytes:
    """Return `obj` as indented JSON that ends with a line feed."""
    return (json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def remove_abandoned(folder: Path) -> int:
    """Remove the temporary files under `folder` whose processes are dead; return how many."""
    removed = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.startswith(".") and name.endswith(_SUFFIX) and _is_abandoned(parent, name):
                with suppress(OSError):
                    os.unlink(os.path.join(parent, name))
                    removed += 1
    return removed


def _temporary(path: Path) -> Path:
    name = f".{path.name}.{this_process().tag}.{next(_numbers)}{_SUFFIX}"
    return path.with_name(name)


def _finish(file: BinaryIO, durable: bool) -> None:
    file.flush()
    if durable:
        os.fsync(file.fileno())


def _link(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if path.exists():
            return False
        os.replace(temporary, path)
    return True


def _is_abandoned(parent: str, name: str) -> bool:
    owner = Process.from_tag(name)
    if owner is None:
        return False  # not one of ours
    if owner.is_known_dead():
        return True
    try:
        age = time.time() - os.stat(os.path.join(parent, name)).st_mtime
    except OSError:
        return False
    return age > _FOREIGN_AGE_SECONDS
