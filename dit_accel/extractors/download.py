"""One process downloads, the others wait; nothing is ever half there under its own name."""

from __future__ import annotations

import hashlib
import os
import sys
import urllib.request
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from dit_accel.errors import mismatch
from dit_accel.extractors.weights import WeightsError, WeightsFile, sha256_of, torch_checkpoints

# Of silence, not of the whole download: a dead connection must not hang every waiting rank.
_TIMEOUT_SECONDS = 60.0


def download(file: WeightsFile) -> Path:
    """Download `file` to the cache that its users share: torch's, or the Hub's.

    Returns:
        Path of the complete file, whose hash was checked.

    Raises:
        WeightsError: the address sent other bytes than the published ones; they are deleted.
        OSError, HTTPException: no network, no such address, cut off, or no room.
    """
    return _from_hub(file) if file.repository else _from_web(file)


def _from_web(file: WeightsFile) -> Path:
    target = torch_checkpoints() / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    # The lock goes with its process, so a killed download holds nobody up, and its part file is
    # overwritten by the next one.
    with FileLock(f"{target}.lock"):
        if not target.is_file():
            part = target.with_name(f"{target.name}.part")
            try:
                _fetch(file, part)
                os.replace(part, target)
            finally:
                part.unlink(missing_ok=True)
    return target


def _fetch(file: WeightsFile, part: Path) -> None:
    print(f"downloading {file.url}", file=sys.stderr)
    with urllib.request.urlopen(file.url, timeout=_TIMEOUT_SECONDS) as answer, part.open("wb") as f:
        found = _copy(answer, f)
        f.flush()
        os.fsync(f.fileno())
    if found != file.sha256:
        raise _wrong_bytes(file, found)


def _copy(source: BinaryIO, target: BinaryIO) -> str:
    """Copy to the end and return the SHA-256 of what went through."""
    digest = hashlib.sha256()
    while chunk := source.read(1 << 20):
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


def _from_hub(file: WeightsFile) -> Path:
    # huggingface_hub locks, resumes and renames by itself, and knows mirrors and tokens.
    from huggingface_hub import hf_hub_download

    path = Path(hf_hub_download(file.repository, file.name))
    found = sha256_of(path)
    if found != file.sha256:
        path.resolve().unlink()
        path.unlink(missing_ok=True)  # the snapshot's link to the blob
        raise _wrong_bytes(file, found)
    return path


def _wrong_bytes(file: WeightsFile, found: str) -> WeightsError:
    remedy = "what came was deleted: it was cut short, or somebody between sent a page of their own"
    return WeightsError(f"{file.url}: SHA-256 {mismatch(found, file.sha256, remedy)}")
