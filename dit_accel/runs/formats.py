"""How images lie on the disk: PNG files, NumPy shards, or WebDataset shards.

Every format is lossless. Whatever is written is written as a whole; see `atomic`.
"""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, Protocol

import numpy as np
from PIL import Image

from dit_accel.errors import DitAccelError
from dit_accel.runs.atomic import atomic_write
from dit_accel.runs.folder import RunFolder
from dit_accel.runs.pixels import Pixels, checked

Metadata = Mapping[int, Mapping[str, Any]]
Places = dict[int, tuple[str, str | None]]
_FOLDER_SIZE = 1000
# Lossless at every level; on a photograph of 256 × 256, level 1 takes 5 ms instead of the default's
# 19 ms for 7 % more bytes.
_PNG_LEVEL = 1


class ImageWriter(Protocol):
    """Writes images of a block.

    Attributes:
        whole_blocks: whether `write` should get all images of a block at once, because it makes
            one file of them; else each image is a file and any part of a block will do.
    """

    whole_blocks: bool

    def write(
        self, block: range, items: Mapping[int, Pixels], metadata: Metadata | None = None
    ) -> Places:
        """Write `items`, uint8 ``[H, W, 3]`` by index, which are some or all of `block`.

        `metadata` by index (seed, condition) goes into formats that have a place for it.

        Returns:
            By index the file, relative to the run folder, and the entry in it (None: all of it).

        Raises:
            RunFolderError: if a file cannot be written; no cut-off file stays.
            DitAccelError: if an item is no RGB image, or not of `block`.
        """
        ...


def image_writer(folder: RunFolder) -> ImageWriter:
    """Return the writer of the folder's format."""
    writers: dict[str, Callable[[RunFolder], ImageWriter]]
    writers = {"png": PngWriter, "npz": NpzWriter, "webdataset": WebDatasetWriter}
    return writers[folder.format](folder)


class PngWriter:
    """``images/000000/000000.png``: the index is the name, a thousand in a folder."""

    whole_blocks = False

    def __init__(self, folder: RunFolder) -> None:
        self._root = folder.path

    def write(
        self, block: range, items: Mapping[int, Pixels], metadata: Metadata | None = None
    ) -> Places:
        """Write each image to a file of its own; see `ImageWriter.write`."""
        places: Places = {}
        for index, image in _checked_items(block, items):
            name = f"images/{index - index % _FOLDER_SIZE:06d}/{index:06d}.png"
            with atomic_write(self._root / name) as file:
                _save_png(image, file)
            places[index] = (name, None)
        return places


class NpzWriter:
    """``images/000000-000063.npz``: `images` uint8 ``[N, H, W, 3]`` and `indices` int64 ``[N]``."""

    whole_blocks = True

    def __init__(self, folder: RunFolder) -> None:
        self._root = folder.path

    def write(
        self, block: range, items: Mapping[int, Pixels], metadata: Metadata | None = None
    ) -> Places:
        """Write one shard; an entry is named by its row. See `ImageWriter.write`."""
        ordered = _checked_items(block, items)
        if not ordered:
            return {}
        indices = [index for index, _ in ordered]
        images = [image for _, image in ordered]
        if len({image.shape for image in images}) > 1:
            sizes = sorted({f"{image.shape[0]}x{image.shape[1]}" for image in images})
            raise DitAccelError(
                f"format npz: images of one shard have sizes {', '.join(sizes)}, expected one; "
                "use format: png for images of several sizes"
            )
        name = f"images/{_shard_stem(indices)}.npz"
        with atomic_write(self._root / name) as file:
            np.savez(file, images=np.stack(images), indices=np.array(indices, dtype=np.int64))
        return {index: (name, str(row)) for row, index in enumerate(indices)}


class WebDatasetWriter:
    """``images/000000-000063.tar`` with ``000000.png`` and ``000000.json`` for every image."""

    whole_blocks = True

    def __init__(self, folder: RunFolder) -> None:
        self._root = folder.path

    def write(
        self, block: range, items: Mapping[int, Pixels], metadata: Metadata | None = None
    ) -> Places:
        """Write one shard; `metadata` goes into the JSON entries. See `ImageWriter.write`."""
        ordered = _checked_items(block, items)
        if not ordered:
            return {}
        name = f"images/{_shard_stem([index for index, _ in ordered])}.tar"
        # USTAR is what every reader of WebDataset takes, and holds nothing of this machine.
        with (
            atomic_write(self._root / name) as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            for index, image in ordered:
                told = {"index": index, **(metadata or {}).get(index, {})}
                _add(archive, f"{index:06d}.png", _png_bytes(image))
                _add(archive, f"{index:06d}.json", json.dumps(told).encode("ascii"))
        return {index: (name, f"{index:06d}.png") for index, _ in ordered}


def _checked_items(block: range, items: Mapping[int, Pixels]) -> list[tuple[int, Pixels]]:
    if strangers := sorted(set(items) - set(block)):
        raise DitAccelError(
            f"image {strangers[0]} is not of the block {block.start}–{block.stop - 1}; write each "
            "image with its own block"
        )
    return [(index, checked(items[index], f"image {index}")) for index in sorted(items)]


def _shard_stem(indices: Sequence[int]) -> str:
    """Return a name that two shards share only if they hold the same indices.

    So the same block written twice is one file, and what is added to a block (because the set
    grew, or some of its images were lost) never replaces a shard with other images in it.
    """
    stem = f"{indices[0]:06d}-{indices[-1]:06d}"
    if indices[-1] - indices[0] == len(indices) - 1:
        return stem
    return f"{stem}-{zlib.crc32(np.array(indices, dtype='<i8').tobytes()):08x}"


def _save_png(image: Pixels, file: BinaryIO) -> None:
    Image.fromarray(image).save(file, format="PNG", compress_level=_PNG_LEVEL)


def _png_bytes(image: Pixels) -> bytes:
    buffer = io.BytesIO()
    _save_png(image, buffer)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
