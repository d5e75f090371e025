"""The ADM evaluator's ``.npz``: `arr_0`, uint8 ``[N, H, W, 3]``; labels as `arr_1` if there are.

Written and read as a stream: 50,000 images of 256 × 256 are 9.8 GB.
https://github.com/openai/guided-diffusion/tree/main/evaluations
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from dit_accel.errors import DitAccelError
from dit_accel.runs.atomic import atomic_write
from dit_accel.runs.errors import RunFolderError
from dit_accel.runs.folder import RunFolder
from dit_accel.runs.manifest_reading import read_manifest
from dit_accel.runs.pixels import Pixels
from dit_accel.runs.reading import read_image
from dit_accel.runs.records import ImageRecord

_READ_AHEAD = 16


class AdmImages:
    """The images of an ADM file, read batch by batch.

    Attributes:
        shape: of all images, ``(N, H, W, 3)``.
        labels: int64 ``[N]``, or None if the file has none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with zipfile.ZipFile(path) as archive:
                with archive.open("arr_0.npy") as stream:
                    self.shape = _image_shape(stream, path)
                self.labels = _labels(archive, self.shape[0])
        except KeyError:
            raise _refused(path, "it has no array 'arr_0'") from None
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            if isinstance(error, DitAccelError):
                raise
            raise _refused(path, str(error)) from error

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Pixels]:
        """Yield the images in order, uint8 ``[H, W, 3]``; raises as `batches`."""
        for batch in self.batches(_READ_AHEAD):
            yield from batch

    def batches(self, size: int) -> Iterator[Pixels]:
        """Yield the images in order, uint8 ``[size, H, W, 3]``; the last batch may be shorter.

        Raises:
            DitAccelError: if the file is cut off, or its checksum is wrong.
        """
        count, *rest = self.shape
        each = int(np.prod(rest))
        with zipfile.ZipFile(self._path) as archive, archive.open("arr_0.npy") as stream:
            _image_shape(stream, self._path)
            for start in range(0, count, size):
                images = min(size, count - start)
                try:
                    content = stream.read(images * each)
                except (OSError, EOFError, zipfile.BadZipFile) as error:
                    raise _refused(self._path, str(error)) from error
                if len(content) < images * each:
                    raise _refused(self._path, "it is cut off")
                yield np.frombuffer(content, np.uint8).reshape(images, *rest).copy()


def read_adm(path: Path) -> AdmImages:
    """Open an ADM ``.npz`` of images.

    Raises:
        DitAccelError: if it is none; ADM's files of statistics alone have no images.
    """
    return AdmImages(Path(path))


def export_adm(run: RunFolder, path: Path, *, allow_partial: bool = False) -> int:
    """Write the images of `run` in the order of their indices to `path`; return how many.

    Raises:
        RunFolderError: if images are missing, unless `allow_partial` leaves them out, or if `path`
            cannot be written.
        UnreadableImage: if an image is damaged.
        DitAccelError: if the images are of several sizes.
    """
    manifest = read_manifest(run)
    if not manifest or (len(manifest) < run.num_samples and not allow_partial):
        raise RunFolderError(
            f"{run.path} has {len(manifest)} of {run.num_samples} images; run 'dit-accel sample' "
            "to the end first" + (", or allow a partial set" if manifest else "")
        )
    records = [manifest[index] for index in sorted(manifest)]
    shape = read_image(run, records[0]).shape
    with (
        atomic_write(Path(path)) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
    ):
        # zipfile needs to know ahead that an entry may pass 4 GiB.
        with archive.open("arr_0.npy", "w", force_zip64=True) as stream:
            _write_header(stream, "|u1", (len(records), *shape))
            for record in records:
                image = read_image(run, record, thorough=True)
                stream.write(_same_size(image, shape, record).tobytes())
        _write_labels(archive, records)
    return len(records)


def _write_labels(archive: zipfile.ZipFile, records: Sequence[ImageRecord]) -> None:
    """Write the labels as ADM's own samples have them, if every image has one."""
    labels = [record.class_label for record in records if record.class_label is not None]
    if len(labels) == len(records):
        with archive.open("arr_1.npy", "w") as stream:
            _write_header(stream, "<i8", (len(labels),))
            stream.write(np.array(labels, dtype="<i8").tobytes())


def _write_header(stream: IO[bytes], descr: str, shape: tuple[int, ...]) -> None:
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)


def _same_size(image: Pixels, shape: tuple[int, ...], record: ImageRecord) -> Pixels:
    if image.shape != shape:
        raise DitAccelError(
            f"image {record.index} is {image.shape[0]}x{image.shape[1]}, the first one "
            f"{shape[0]}x{shape[1]}; an ADM file holds images of one size"
        )
    return image


def _image_shape(stream: IO[bytes], path: Path) -> tuple[int, ...]:
    major, _ = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if major == 1 else _read_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype != np.uint8 or fortran or len(shape) != 4 or shape[3] != 3:
        raise _refused(path, f"arr_0 is {dtype} {list(shape)}")
    return shape


def _read_header_2_0(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    return np.lib.format.read_array_header_2_0(stream)


def _labels(archive: zipfile.ZipFile, count: int) -> npt.NDArray[np.int64] | None:
    if "arr_1.npy" not in archive.namelist():
        return None
    with archive.open("arr_1.npy") as stream:
        labels = np.lib.format.read_array(stream, allow_pickle=False)
    return labels.astype(np.int64) if labels.shape == (count,) else None


def _refused(path: Path, problem: str) -> DitAccelError:
    return DitAccelError(
        f"{path}: {problem}; expected an ADM .npz whose arr_0 is uint8 [N, H, W, 3]"
    )
