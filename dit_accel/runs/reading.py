"""Reading images back, and finding those that cannot be."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from dit_accel.runs.errors import UnreadableImage
from dit_accel.runs.folder import RunFolder
from dit_accel.runs.pixels import Pixels, pixel_sha256
from dit_accel.runs.records import ImageRecord
from dit_accel.runs.shards import check_npz, npz_image, tar_entry


def read_image(folder: RunFolder, record: ImageRecord, *, thorough: bool = False) -> Pixels:
    """Return the image that `record` tells of, uint8 ``[H, W, 3]``, decoded to its last row.

    `thorough` compares the pixels with the record's SHA-256 as well.

    Raises:
        UnreadableImage: if the file is missing or damaged, or holds other pixels.
    """
    path = folder.path / record.file
    try:
        image = _decode(path, record)
    except _DAMAGE as error:
        raise UnreadableImage(
            f"image {record.index} cannot be read from {path}: {error}; run 'dit-accel sample' "
            "again with the same configuration, which makes such images anew"
        ) from error
    if thorough and pixel_sha256(image) != record.sha256:
        raise UnreadableImage(
            f"image {record.index} in {path} is not the one in the manifest: its pixels have "
            "another SHA-256; run 'dit-accel sample' again with the same configuration"
        )
    return image


def unreadable(
    folder: RunFolder,
    records: Iterable[ImageRecord],
    workers: int = 8,
    *,
    thorough: bool = False,
) -> set[int]:
    """Return the indices of the records whose images cannot be read; see `read_image`."""
    by_file: dict[str, list[ImageRecord]] = defaultdict(list)
    for record in records:
        by_file[record.file].append(record)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        found = pool.map(lambda group: _damaged(folder, group, thorough), by_file.values())
        return set().union(*found)


def missing(folder: RunFolder, block: range, manifest: Mapping[int, ImageRecord]) -> list[int]:
    """Return the indices of `block` that have no record, or whose file is not there."""
    files = {manifest[index].file for index in block if index in manifest}
    there = {file for file in files if os.path.exists(folder.path / file)}
    return [index for index in block if index not in manifest or manifest[index].file not in there]


_PNG_END = b"IEND\xaeB`\x82"  # the last chunk's name and its checksum
# What PIL, zipfile, tarfile and NumPy raise on damaged files; SyntaxError is PIL's, for chunks of
# a PNG; RuntimeError is zipfile's, for entries that a flipped bit makes encrypted, say.
_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    SyntaxError,
    RuntimeError,
    zipfile.BadZipFile,
    tarfile.TarError,
)


def _damaged(folder: RunFolder, records: list[ImageRecord], thorough: bool) -> set[int]:
    """Return which images of one file cannot be read."""
    if records[0].file.endswith(".npz"):
        try:
            check_npz(folder.path / records[0].file)
        except _DAMAGE:
            return {record.index for record in records}
    return {record.index for record in records if not _is_readable(folder, record, thorough)}


def _is_readable(folder: RunFolder, record: ImageRecord, thorough: bool) -> bool:
    try:
        read_image(folder, record, thorough=thorough)
    except UnreadableImage:
        return False
    return True


def _decode(path: Path, record: ImageRecord) -> Pixels:
    if record.member is None:
        return _decode_png(path.read_bytes())
    if path.suffix == ".npz":
        return npz_image(path, int(record.member), record.index)
    return _decode_png(tar_entry(path, record.member))


def _decode_png(content: bytes) -> Pixels:
    if not content.endswith(_PNG_END):  # PIL does not look further than the last pixel
        raise ValueError("it is cut off")
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        if image.mode != "RGB":
            raise ValueError(f"its mode is {image.mode}, expected RGB")
        return np.array(image)
