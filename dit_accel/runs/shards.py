"""Where the images lie in a shard, so that one of them can be read without all the others."""

from __future__ import annotations

import functools
import math
import tarfile
import zipfile
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from dit_accel.runs.pixels import Pixels


class ShardError(ValueError):
    """A shard whose structure is not what its format says."""


def npz_image(path: Path, row: int, index: int) -> Pixels:
    """Return row `row` of a NumPy shard, uint8 ``[H, W, 3]``, if it is image `index`."""
    layout = _npz_layout(path, *_version(path))
    if not 0 <= row < len(layout.indices) or layout.indices[row] != index:
        raise ShardError(f"row {row} is not image {index}")
    size = math.prod(layout.image_shape)
    content = bytearray(_read_at(path, layout.offset + row * size, size))  # so as to be writable
    image: Pixels = np.frombuffer(content, np.uint8).reshape(layout.image_shape)
    return image


def tar_entry(path: Path, name: str) -> bytes:
    """Return the bytes of the entry `name` of a tar file."""
    place = _tar_places(path, *_version(path)).get(name)
    if place is None:
        raise ShardError(f"it has no entry {name}")
    return _read_at(path, *place)


def check_npz(path: Path) -> None:
    """Read the whole NumPy shard against its checksums."""
    with zipfile.ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise ShardError(f"the checksum of {damaged} is wrong")


def _version(path: Path) -> tuple[int, int, int]:
    """What changes when a file is replaced: part of the key of what is remembered of it."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read_at(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read(size)
    if len(content) < size:
        raise ShardError("it is cut off")
    return content


class _NpzLayout(NamedTuple):
    indices: npt.NDArray[np.int64]
    image_shape: tuple[int, ...]
    offset: int  # of the first image's first byte


@functools.lru_cache(maxsize=64)
def _npz_layout(path: Path, modified: int, size: int, inode: int) -> _NpzLayout:
    with zipfile.ZipFile(path) as archive:
        with archive.open("indices.npy") as stream:
            indices = np.lib.format.read_array(stream, allow_pickle=False)
        with archive.open("images.npy") as stream:
            start = _stored_at(path, archive.getinfo("images.npy"))
            shape, header_size = _uint8_header(stream)
    if len(shape) != 4 or shape[3] != 3 or shape[0] != len(indices):
        raise ShardError(f"its images have the shape {list(shape)}")
    return _NpzLayout(indices, shape[1:], start + header_size)


def _stored_at(path: Path, entry: zipfile.ZipInfo) -> int:
    """Return where the bytes of an uncompressed zip entry begin."""
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ShardError("it is compressed")
    # The local header: 30 bytes, of which the last four say how long name and extra are.
    lengths = _read_at(path, entry.header_offset + 26, 4)
    name, extra = int.from_bytes(lengths[:2], "little"), int.from_bytes(lengths[2:], "little")
    return entry.header_offset + 30 + name + extra


def _uint8_header(stream: IO[bytes]) -> tuple[tuple[int, ...], int]:
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ShardError(f"its array format is {version}")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if fortran or dtype != np.uint8:
        raise ShardError(f"its images are {dtype}")
    return shape, stream.tell()


@functools.lru_cache(maxsize=64)
def _tar_places(path: Path, modified: int, size: int, inode: int) -> dict[str, tuple[int, int]]:
    with tarfile.open(path, mode="r:") as archive:
        return {entry.name: (entry.offset_data, entry.size) for entry in archive}
