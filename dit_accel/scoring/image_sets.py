"""What can be scored: pictures in a fixed order, from a run, a folder or an ADM ``.npz``.

An image set knows how many pictures it should hold and a fingerprint of those it holds, and hands
them out one by one, so that 50,000 of them are never in memory together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from dit_accel.errors import DitAccelError, mismatch
from dit_accel.runs import (
    ImageRecord,
    RunFolder,
    UnreadableImage,
    read_adm,
    read_image,
    read_manifest,
    unreadable,
)
from dit_accel.scoring.center_crop import center_crop
from dit_accel.scoring.reading_ahead import read_ahead

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


class ImageSet(Protocol):
    """Pictures in a fixed order, read anew each time they are asked for."""

    @property
    def name(self) -> str:
        """How people refer to it: a path, or the name of a built-in set."""

    @property
    def expected(self) -> int:
        """How many pictures it holds once it is complete."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what the pictures are, in their order."""

    def __len__(self) -> int: ...

    def images(self) -> Iterator[np.ndarray]:
        """The pictures, uint8 ``[H, W, 3]``, in order."""


class RunImages:
    """The pictures of a run folder whose manifest lines are written, by index.

    Args:
        folder: the run.
        indices: which of its images; all by default.

    Attributes:
        is_whole: whether these are all images that the manifest has.

    Raises:
        DitAccelError: there is none yet.
    """

    def __init__(self, folder: RunFolder, indices: Collection[int] | None = None) -> None:
        self.folder = folder
        manifest = read_manifest(folder)
        chosen = sorted(manifest if indices is None else manifest.keys() & set(indices))
        self.records: Sequence[ImageRecord] = [manifest[index] for index in chosen]
        if not self.records:
            raise DitAccelError(
                f"{folder.path}: no image is in the manifest yet; run 'dit-accel sample' first"
            )
        self.name = str(folder.path)
        self.expected = folder.num_samples
        self.is_whole = len(chosen) == len(manifest)

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the index and the pixel hash of every picture."""
        return digest_of(f"{record.index} {record.sha256}" for record in self.records)

    def only(self, indices: Collection[int]) -> RunImages:
        """The same run without the images of other indices."""
        return RunImages(self.folder, indices)

    def images(self) -> Iterator[np.ndarray]:
        """The pictures, uint8 ``[H, W, 3]``, by index.

        Raises:
            DitAccelError: some cannot be decoded; every one of them is named.
        """
        return self.images_of(self.records)

    def images_of(self, records: Sequence[ImageRecord]) -> Iterator[np.ndarray]:
        """The pictures of some records, in their order; raises as `images`."""
        try:
            yield from read_ahead(self._read, records)
        except UnreadableImage:
            broken = sorted(unreadable(self.folder, records, thorough=True))
            raise DitAccelError(
                f"{self.name}: {_listed(map(str, broken))} cannot be read, or not as in the "
                "manifest; run 'dit-accel sample' again, which makes such images anew"
            ) from None

    def _read(self, record: ImageRecord) -> np.ndarray:
        # Features are kept under the hash in the record, so the pixels must be those.
        return read_image(self.folder, record, thorough=True)


class FolderImages:
    """Every picture below a folder, sorted by its path in it; a name counts once."""

    def __init__(self, path: Path, size: int | None = None) -> None:
        found = (p for p in path.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
        self.files = sorted((p for p in found if p.is_file()), key=lambda p: p.as_posix())
        if not self.files:
            raise DitAccelError(
                f"{path}: no run and no pictures here; expected a config.yaml of 'dit-accel "
                f"sample', or files that end in {', '.join(PICTURE_SUFFIXES)}"
            )
        self.path, self.size, self.name = path, size, str(path)
        self.expected = len(self.files)

    def __len__(self) -> int:
        return len(self.files)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the name and the bytes of every file, and the size they are cropped to."""
        names = (f"{p.relative_to(self.path).as_posix()} {hash_file(p)}" for p in self.files)
        return digest_of([f"size {self.size}", *names])

    def images(self) -> Iterator[np.ndarray]:
        """The pictures, uint8 ``[H, W, 3]``, by name.

        Raises:
            DitAccelError: some cannot be decoded; every one of them is named.
        """
        try:
            yield from read_ahead(self._read, self.files)
        except (UnidentifiedImageError, OSError):
            broken = [p.name for p in self.files if not self._is_readable(p)]
            raise DitAccelError(
                f"{self.name}: {_listed(broken)} cannot be read; replace or remove these files"
            ) from None

    def _read(self, file: Path) -> np.ndarray:
        with Image.open(file) as opened:
            picture = opened.convert("RGB")
        return np.asarray(picture) if self.size is None else center_crop(picture, self.size)

    def _is_readable(self, file: Path) -> bool:
        try:
            self._read(file)
        except (UnidentifiedImageError, OSError):
            return False
        return True


class NpzImages:
    """The pictures of an ADM sample file: ``arr_0``, uint8 ``[N, H, W, 3]``."""

    def __init__(self, path: Path) -> None:
        self._images = read_adm(path)
        self.path, self.name = path, str(path)
        self.expected = len(self._images)

    def __len__(self) -> int:
        return self.expected

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the file."""
        return hash_file(self.path)

    def images(self) -> Iterator[np.ndarray]:
        """The pictures, uint8 ``[H, W, 3]``, as they lie in the file."""
        for batch in self._images.batches(64):
            yield from batch


class FirstImages:
    """The first `count` pictures of another set."""

    def __init__(self, images: ImageSet, count: int) -> None:
        if count > len(images):
            raise DitAccelError(
                "num: " + mismatch(count, f"at most {len(images)}", f"{images.name} has no more")
            )
        self._whole, self.expected = images, count
        self.name = images.name

    def __len__(self) -> int:
        return self.expected

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the whole set's fingerprint and how many are taken."""
        return digest_of([self._whole.fingerprint, f"first {self.expected}"])

    def images(self) -> Iterator[np.ndarray]:
        """The first pictures of the whole set, uint8 ``[H, W, 3]``."""
        for _, image in zip(range(self.expected), self._whole.images(), strict=False):
            yield image


def digest_of(lines: Iterable[str]) -> str:
    """SHA-256 of text lines."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of the bytes of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _listed(names: Iterable[str], limit: int = 20) -> str:
    """``image a, b, c and 5 more``."""
    every = list(names)
    more = f" and {len(every) - limit} more" if len(every) > limit else ""
    return f"{'image' if len(every) == 1 else 'images'} {', '.join(every[:limit])}{more}"
