"""Features that were computed once are kept in the run folder.

A row depends on the extractor and on the pixels alone, so rows are kept under the hash of the
pixels: an image that was made anew is looked at anew, whatever its index or file, and a set that
grew costs only what is new. The sampler may leave rows block by block
(``features/<extractor>/000012.npz``); scoring gathers them into ``features/<extractor>.npz``.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from dit_accel.extractors.extractor import Extractor, extractor_record
from dit_accel.runs import RunFolder, RunFolderError, atomic_write
from dit_accel.scoring.features import Rows, extract_rows, statistics_of
from dit_accel.scoring.image_sets import RunImages

FORMAT = "dit_accel.features.v1"


def write_rows(
    path: Path, extractor: Extractor, digests: Sequence[str], rows: Mapping[str, Rows]
) -> None:
    """Keep rows ``[N, D]`` of N pictures with the SHA-256 of their pixels, atomically."""
    header = {"format": FORMAT, "extractor": extractor_record(extractor)}
    arrays: dict[str, Any] = {f"rows/{output}": values for output, values in rows.items()}
    arrays["header"] = np.array(json.dumps(header, sort_keys=True))
    arrays["digests"] = np.array(digests, dtype="S64")
    with atomic_write(path) as file:
        np.savez(file, **arrays)


def read_rows(path: Path, extractor: Extractor) -> tuple[list[str], dict[str, Rows]] | None:
    """Digests and rows that `write_rows` kept; None if there are none of this very extractor."""
    wanted = {"format": FORMAT, "extractor": extractor_record(extractor)}
    try:
        with np.load(path, allow_pickle=False) as file:
            if json.loads(str(file["header"])) != wanted:
                return None
            rows = {key.removeprefix("rows/"): file[key] for key in file if key.startswith("rows/")}
            return [digest.decode() for digest in file["digests"]], rows
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def rows_of_run(images: RunImages, extractor: Extractor) -> dict[str, Rows]:
    """The rows of a run's pictures, by index: what is kept, and the rest looked at now."""
    wanted = [record.sha256 for record in images.records]
    merged = _merged_path(images.folder, extractor)
    kept = read_rows(merged, extractor)
    if kept is not None and kept[0] == wanted:
        return kept[1]
    pools = [*([kept] if kept else []), *_blocks(images.folder, extractor)]
    known = {digest for digests, _ in pools for digest in digests}
    new = [record for record in images.records if record.sha256 not in known]
    if new:
        [found] = extract_rows(images.images_of(new), [extractor])
        pools.append(([record.sha256 for record in new], found))
    rows = _in_order(wanted, pools)
    if not images.is_whole:
        return rows  # of a pair that shares these alone: what is kept is of all images
    # A run that belongs to somebody else can be scored; only the second time is as slow as the
    # first.
    with suppress(RunFolderError):
        write_rows(merged, extractor, wanted, rows)
        save_statistics(images.folder, extractor, rows)
    return rows


def block_path(folder: RunFolder, extractor: Extractor, block: int) -> Path:
    """Where the sampler leaves the rows of one block of images."""
    return folder.features / extractor.name / f"{block:06d}.npz"


def save_statistics(folder: RunFolder, extractor: Extractor, rows: Mapping[str, Rows]) -> None:
    """Write ``statistics/<extractor>.npz``: what others need in order to score the set."""
    statistics_of(rows["features"]).save(folder.statistics / f"{extractor.name}.npz")


def _merged_path(folder: RunFolder, extractor: Extractor) -> Path:
    return folder.features / f"{extractor.name}.npz"


def _blocks(folder: RunFolder, extractor: Extractor) -> Iterator[tuple[list[str], dict[str, Rows]]]:
    for path in sorted((folder.features / extractor.name).glob("*.npz")):
        found = read_rows(path, extractor)
        if found is not None:
            yield found


def _in_order(
    wanted: Sequence[str], pools: Sequence[tuple[list[str], dict[str, Rows]]]
) -> dict[str, Rows]:
    """Pick the rows of `wanted` digests out of several pools."""
    digests = [digest for found, _ in pools for digest in found]
    place = {digest: number for number, digest in enumerate(digests)}
    order = np.array([place[digest] for digest in wanted])
    outputs = pools[0][1]
    return {
        output: np.concatenate([rows[output] for _, rows in pools])[order] for output in outputs
    }
