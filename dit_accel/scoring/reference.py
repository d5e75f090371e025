"""Reference files: what an extractor says about a real set, with what it was made from.

A file holds ``mu``, ``sigma`` and ``n`` under the names that pytorch-fid and ADM use (``mu_s``,
``sigma_s`` for Inception's spatial features), the rows of single pictures under ``features`` for
the metrics that need those, and a JSON header: extractor, data, provenance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dit_accel.errors import DitAccelError, mismatch
from dit_accel.extractors.extractor import Extractor, extractor_record
from dit_accel.measure.provenance import provenance
from dit_accel.metrics.statistics_files import Moments
from dit_accel.runs import atomic_write
from dit_accel.scoring.features import extract_rows, extract_statistics, statistics_of
from dit_accel.scoring.image_sets import ImageSet
from dit_accel.scoring.sources import KnownSource

FORMAT = "dit_accel.reference.v1"
_SUFFIX = {"features": "", "spatial": "_s"}  # of mu and sigma, as in ADM's files


def make_reference(
    images: ImageSet, extractor: Extractor, path: Path, *, with_rows: bool = True
) -> KnownSource:
    """Look at every picture of a real set and write what its scores need.

    Args:
        images: the set.
        extractor: looks at it.
        path: file to write, ``.npz``; written as a whole or not at all.
        with_rows: keep the features of single pictures, which KID, CMMD, precision and recall
            need. Without them a set of any size takes the memory of its covariance alone.

    Raises:
        DitAccelError: pictures cannot be read, or the file cannot be written.
    """
    rows = None
    if with_rows:
        [found] = extract_rows(images.images(), [extractor])
        rows = found["features"]
        statistics = {output: statistics_of(found[output]) for output in _SUFFIX if output in found}
    else:
        statistics = extract_statistics(images.images(), extractor)
    header = {
        "format": FORMAT,
        "extractor": extractor_record(extractor),
        "data": {"name": images.name, "n": len(images), "sha256": images.fingerprint},
        "provenance": provenance(),
    }
    arrays: dict[str, Any] = {"header": np.array(json.dumps(header)), "n": np.array(len(images))}
    for output, suffix in _SUFFIX.items():
        if output in statistics:
            arrays[f"mu{suffix}"] = statistics[output].mean
            arrays[f"sigma{suffix}"] = statistics[output].cov
    if rows is not None:
        arrays["features"] = rows
    with atomic_write(path) as file:
        np.savez(file, **arrays)
    return open_reference(path)


def check_reference_path(path: Path) -> None:
    """Refuse a file name that NumPy's tools would not take for what it is.

    Raises:
        DitAccelError: it does not end in ``.npz``.
    """
    if path.suffix != ".npz":
        raise DitAccelError(f"output: {mismatch(str(path), 'a name ending in .npz', 'rename it')}")


def open_reference(path: Path, name: str | None = None) -> KnownSource:
    """Read what `make_reference` wrote.

    Args:
        path: the file.
        name: how it is called; the path by default.

    Raises:
        DitAccelError: it is no such file.
    """
    with np.load(path, allow_pickle=False) as file:
        header = read_header(file)
        if header is None:
            raise DitAccelError(f"{path}: no reference of 'dit-accel reference'; make one with it")
        n = int(file["n"])
        statistics = {
            output: Moments(file[f"mu{suffix}"], file[f"sigma{suffix}"], n)
            for output, suffix in _SUFFIX.items()
            if f"mu{suffix}" in file
        }
        rows = {"features": file["features"]} if "features" in file else {}
    made_with = header["extractor"]
    return KnownSource(
        path, rows=rows, statistics=statistics, count=n, made_with=made_with, name=name
    )


def read_header(file: Mapping[str, Any]) -> dict[str, Any] | None:
    """The JSON header of a loaded reference file; None if the file is something else."""
    if "header" not in file:
        return None
    header: dict[str, Any] = json.loads(str(file["header"]))
    return header if header.get("format") == FORMAT else None
