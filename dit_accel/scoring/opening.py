"""From a path or a name to what it holds: a run, pictures, an ADM file, statistics, a reference."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from dit_accel.errors import DitAccelError, mismatch
from dit_accel.metrics.statistics_files import read_statistics
from dit_accel.resources import reference_model_folder
from dit_accel.runs import RunFolder
from dit_accel.scoring.image_sets import FirstImages, FolderImages, ImageSet, NpzImages, RunImages
from dit_accel.scoring.photo_images import COUNT, PHOTOS, SIZE, PhotoImages
from dit_accel.scoring.reference import open_reference, read_header
from dit_accel.scoring.sources import KnownSource, PictureSource, Source

SHIPPED_REFERENCE = "ref-photos"
"""Name of the reference that ships with the package: extractor ``ref`` on ``photos``."""


def open_image_set(
    data: str | Path, *, num: int | None = None, size: int | None = None
) -> ImageSet:
    """Open a set of pictures.

    Args:
        data: a run folder, a folder of pictures, an ADM ``.npz``, or ``photos``.
        num: only the first so many.
        size: crop and resize to squares of so many pixels; for pictures of other people's making.

    Raises:
        DitAccelError: there is no such set, or its pictures are not to be resized.
    """
    if str(data) == PHOTOS:
        return PhotoImages(num or COUNT, size or SIZE)
    path = Path(data)
    if path.is_dir() and not _is_run(path):
        images: ImageSet = FolderImages(path, size)
    elif size is not None:
        remedy = "pictures of a run or an .npz are taken as they are; leave it out"
        raise DitAccelError(f"size: {mismatch(size, f'none for {path}', remedy)}")
    else:
        images = _run_or_npz(path)
    return images if num is None else FirstImages(images, num)


def open_source(data: str | Path) -> Source:
    """Open whatever can be scored or compared with.

    Raises:
        DitAccelError: it does not exist, or is none of the known kinds.
    """
    if str(data) == SHIPPED_REFERENCE:
        return _shipped_reference()
    path = Path(data)
    if str(data) == PHOTOS or path.is_dir():
        return PictureSource(open_image_set(data))
    if not path.is_file():
        expected = f"a run, a folder of pictures, a file, '{SHIPPED_REFERENCE}' or '{PHOTOS}'"
        raise DitAccelError(f"{path}: there is nothing; expected {expected}; check the path")
    keys = _keys(path)
    if "header" in keys and _is_reference(path):
        return open_reference(path)
    if "arr_0" in keys and not keys & {"mu", "mu_s"}:
        return PictureSource(NpzImages(path))
    return _statistics(path, holds_pictures="arr_0" in keys)


def _shipped_reference() -> KnownSource:
    path = reference_model_folder("ref-features") / "photos-128.npz"
    if not path.is_file():
        raise DitAccelError(
            f"{SHIPPED_REFERENCE}: {path} is missing; make it with 'dit-accel reference {PHOTOS} "
            f"--output {path}'"
        )
    return open_reference(path, name=SHIPPED_REFERENCE)


def _run_or_npz(path: Path) -> ImageSet:
    if path.is_dir():
        return RunImages(RunFolder.read(path))
    if path.suffix == ".npz" and path.is_file():
        return NpzImages(path)
    expected = f"a run, a folder of pictures, an ADM .npz, or '{PHOTOS}'"
    raise DitAccelError(f"data: {mismatch(str(path), expected, 'check the path')}")


def _is_run(path: Path) -> bool:
    return (path / "config.yaml").is_file() and (path / "manifest").is_dir()


def _keys(path: Path) -> set[str]:
    """Names of the arrays of an ``.npz``; none for other files."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return set(file) if isinstance(file, np.lib.npyio.NpzFile) else set()
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return set()


def _is_reference(path: Path) -> bool:
    with np.load(path, allow_pickle=False) as file:
        return read_header(file) is not None


def _statistics(path: Path, *, holds_pictures: bool) -> KnownSource:
    """Statistics that this or another tool wrote; ADM's also hold pictures for the rest."""
    found = read_statistics(path)
    moments = found.moments.get("features")
    rows = {} if found.features is None else {"features": found.features.astype(np.float32)}
    count = moments.n if moments is not None else len(rows["features"])
    return KnownSource(
        path,
        rows=rows,
        statistics=found.moments,
        count=count,
        # ADM's files come from its evaluator, which knows one network and one resize.
        made_with={"name": "inception-tf"} if found.source == "adm" else None,
        pictures=PictureSource(NpzImages(path)) if holds_pictures else None,
    )
