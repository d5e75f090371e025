"""ADM's ``VIRTUAL_*.npz``: mu, sigma for FID, mu_s, sigma_s for sFID, its pictures for the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scored_runs import TinyExtractor, pictures, write_run

from dit_accel.errors import DitAccelError
from dit_accel.metrics import frechet_distance, kernel_distance
from dit_accel.scoring.features import extract_rows
from dit_accel.scoring.opening import open_source
from dit_accel.scoring.score import score

COUNT, SHOWN, WHOLE = 24, 30, 200


@pytest.fixture
def virtual(tmp_path: Path) -> Path:
    """Statistics of a large set, and some of its pictures, as ADM publishes them."""
    rows = extract_rows(pictures(WHOLE, seed=1), [TinyExtractor("inception-tf")])[0]
    path = tmp_path / "VIRTUAL_tiny16.npz"
    np.savez(
        path,
        arr_0=pictures(SHOWN, seed=2),
        mu=rows["features"].mean(0),
        sigma=np.cov(rows["features"].T),
        mu_s=rows["spatial"].mean(0),
        sigma_s=np.cov(rows["spatial"].T),
    )
    return path


def test_distances_use_the_statistics_and_the_rest_the_pictures(
    virtual: Path, tmp_path: Path
) -> None:
    write_run(tmp_path / "run", pictures(COUNT))
    extractor = TinyExtractor("inception-tf")
    records = score(
        tmp_path / "run",
        ["fid", "sfid", "kid"],
        reference=virtual,
        extractors={"inception-tf": extractor},
    )
    found = {record.metric: record.value for record in records}
    fake, whole, shown = (
        extract_rows(images, [extractor])[0]
        for images in (pictures(COUNT), pictures(WHOLE, seed=1), pictures(SHOWN, seed=2))
    )
    for metric, output in (("fid", "features"), ("sfid", "spatial")):
        a, b = fake[output], whole[output]
        expected = frechet_distance(a.mean(0), np.cov(a.T), b.mean(0), np.cov(b.T))
        assert found[metric] == pytest.approx(expected, rel=1e-4)
    kernel = kernel_distance(fake["features"], shown["features"], subset_size=COUNT // 2)
    assert found["kid"] == pytest.approx(kernel.value, rel=1e-4)


def test_its_extractor_is_known(virtual: Path, tmp_path: Path) -> None:
    """The file names no extractor, but ADM's evaluator has just one resize rule."""
    write_run(tmp_path / "run", pictures(COUNT))
    assert open_source(virtual).made_with == {"name": "inception-tf"}
    with pytest.raises(DitAccelError, match="was made with name"):
        score(
            tmp_path / "run",
            ["fid_clean"],
            reference=virtual,
            extractors={"inception-clean": TinyExtractor("inception-clean")},
        )


def test_distances_alone_do_not_look_at_its_pictures(virtual: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "run", pictures(COUNT))
    extractor = TinyExtractor("inception-tf")
    score(tmp_path / "run", ["fid"], reference=virtual, extractors={"inception-tf": extractor})
    assert extractor.seen == COUNT
