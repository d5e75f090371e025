"""Pictures and what they show, from a folder, tar files or a dataset; in a fixed order."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dit_accel.adaptation.data_config import DatasetConfig, FolderConfig, WebDatasetConfig
from dit_accel.errors import DitAccelError, mismatch
from dit_accel.sampling.conditions.labels import ClassNames

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
AnyPictures = FolderConfig | WebDatasetConfig | DatasetConfig


@dataclass(frozen=True)
class Picture:
    """One picture that is not decoded yet.

    Attributes:
        condition: class number or text.
        open: decodes it.
    """

    condition: int | str
    open: Callable[[], Image.Image]

    def pixels(self, size: int) -> Tensor:
        """The middle square as `[3, size, size]` in [-1, 1]."""
        image = self.open().convert("RGB")
        side = min(image.size)
        left, top = ((length - side) // 2 for length in image.size)
        square = image.crop((left, top, left + side, top + side))
        resized = square.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=3.0)
        values = torch.from_numpy(np.array(resized)).permute(2, 0, 1)
        return values.float() / 127.5 - 1


def read_pictures(data: AnyPictures, classes: ClassNames | None) -> list[Picture]:
    """All pictures of a source, in an order that does not change.

    Args:
        data: of the config.
        classes: of a class-conditional model; `None` for one that reads texts.

    Raises:
        DitAccelError: there are none, or one has no class or text.
    """
    if isinstance(data, FolderConfig):
        found = _of_folder(Path(data.folder).expanduser(), classes)
    elif isinstance(data, WebDatasetConfig):
        found = (each for shard in data.shards for each in _of_shard(Path(shard), classes))
    else:
        found = _of_dataset(data, classes)
    pictures = list(islice(found, data.limit))
    if not pictures:
        raise DitAccelError(f"data: there is no picture ({', '.join(_SUFFIXES)}) in it; correct it")
    return pictures


def _of_folder(folder: Path, classes: ClassNames | None) -> Iterator[Picture]:
    if not folder.is_dir():
        raise DitAccelError(
            "data.folder: " + mismatch(str(folder), "a folder that exists", "correct the path")
        )
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in _SUFFIXES:
            continue
        if classes is not None:
            condition: int | str = _number(path.relative_to(folder).parts[0], classes, path)
        else:
            condition = _text_beside(path)
        yield Picture(condition, _opener(path))


def _opener(path: Path) -> Callable[[], Image.Image]:
    return lambda: Image.open(path)


def _text_beside(path: Path) -> str:
    text = path.with_suffix(".txt")
    if not text.is_file():
        raise DitAccelError(f"data: {path} has no text beside it; write {text.name}")
    return text.read_text(encoding="utf-8").strip()


def _of_shard(path: Path, classes: ClassNames | None) -> Iterator[Picture]:
    """Entries of one key lie side by side in a tar file: `key.jpg`, `key.cls` or `key.txt`."""
    if not path.is_file():
        raise DitAccelError(
            "data.shards: " + mismatch(str(path), "a tar file that exists", "correct the path")
        )
    kind = ".cls" if classes is not None else ".txt"
    with _uncompressed(path) as tar:
        entries = _by_key(tar)
        texts = {
            key: _tar_text(tar, parts[kind]) for key, parts in entries.items() if kind in parts
        }
    for key, parts in entries.items():
        image = next((parts[suffix] for suffix in _SUFFIXES if suffix in parts), None)
        if image is None:
            continue
        if key not in texts:
            raise DitAccelError(f"data.shards: {path} has no {key}{kind}; write the shard anew")
        text = texts[key]
        condition = text if classes is None else _number(text, classes, path)
        yield Picture(condition, _tar_opener(path, image.offset_data, image.size))


def _uncompressed(path: Path) -> tarfile.TarFile:
    """Pictures are read later, each from its place in the file; compressed ones have none."""
    try:
        return tarfile.open(path, "r:")
    except tarfile.ReadError as error:
        expected = f"an uncompressed tar file ({error})"
        remedy = "decompress it (gunzip), and name the .tar"
        raise DitAccelError("data.shards: " + mismatch(str(path), expected, remedy)) from None


def _by_key(tar: tarfile.TarFile) -> dict[str, dict[str, tarfile.TarInfo]]:
    entries: dict[str, dict[str, tarfile.TarInfo]] = {}
    for member in tar:
        folder, slash, name = member.name.rpartition("/")
        stem, _, suffix = name.partition(".")
        if member.isfile():
            entries.setdefault(f"{folder}{slash}{stem}", {})[f".{suffix.lower()}"] = member
    return entries


def _tar_text(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = tar.extractfile(member)
    assert file is not None
    return file.read().decode("utf-8").strip()


def _tar_opener(path: Path, offset: int, size: int) -> Callable[[], Image.Image]:
    def read() -> Image.Image:
        with path.open("rb") as file:
            file.seek(offset)
            return Image.open(io.BytesIO(file.read(size)))

    return read


def _of_dataset(data: DatasetConfig, classes: ClassNames | None) -> Iterator[Picture]:
    try:
        from datasets import load_dataset, load_from_disk
    except ImportError:
        raise DitAccelError(
            "data: kind dataset needs the package datasets, which is not installed; pip install"
            " 'dit-accel[datasets]', or use kind folder"
        ) from None
    on_disk = Path(data.name).expanduser()
    if not on_disk.exists():
        rows = load_dataset(data.name, split=data.split)
    else:
        rows = load_from_disk(on_disk)
        if isinstance(rows, Mapping):  # several splits
            rows = rows[data.split]
    conditions = rows[data.condition]
    for index, value in enumerate(conditions):
        condition = str(value) if classes is None else classes.number_of(int(value))
        yield Picture(condition, _row_opener(rows, index, data.image))


def _row_opener(rows: Any, index: int, column: str) -> Callable[[], Image.Image]:
    def read() -> Image.Image:
        image: Image.Image = rows[index][column]
        return image

    return read


def _number(name: str, classes: ClassNames, path: Path) -> int:
    try:
        return classes.number_of(int(name) if name.isdecimal() else name)
    except DitAccelError as error:
        raise DitAccelError(f"data: {path}: {error}") from None
