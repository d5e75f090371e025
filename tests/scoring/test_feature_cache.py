"""Features are computed once, under the hash of the pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scored_runs import TinyExtractor, pictures, write_run

from dit_accel.metrics.feature_statistics import FeatureStatistics
from dit_accel.runs import RunFolder
from dit_accel.scoring.feature_cache import rows_of_run
from dit_accel.scoring.features import extract_rows
from dit_accel.scoring.image_sets import RunImages
from dit_accel.scoring.while_sampling import FeatureRecorder, gather_features

COUNT = 19


def rows_now(path: Path, extractor: TinyExtractor) -> tuple[np.ndarray, int]:
    """Rows of a run as it is, and how many pictures had to be looked at for them."""
    before = extractor.seen
    rows = rows_of_run(RunImages(RunFolder.read(path)), extractor)
    return rows["features"], extractor.seen - before


def direct(images: np.ndarray) -> np.ndarray:
    return extract_rows(images, [TinyExtractor()])[0]["features"]


def test_a_run_is_looked_at_once(tmp_path: Path) -> None:
    write_run(tmp_path / "run", pictures(COUNT))
    extractor = TinyExtractor()
    rows, seen = rows_now(tmp_path / "run", extractor)
    again, seen_again = rows_now(tmp_path / "run", extractor)
    assert (seen, seen_again) == (COUNT, 0)
    np.testing.assert_allclose(rows, direct(pictures(COUNT)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(rows, again)


def test_only_what_changed_or_is_new_is_looked_at(tmp_path: Path) -> None:
    images = pictures(COUNT)
    write_run(tmp_path / "run", images, present=range(9))
    extractor = TinyExtractor()
    assert rows_now(tmp_path / "run", extractor)[1] == 9
    images[[2, 5]] = pictures(2, seed=7)
    write_run(tmp_path / "run", images, present=[2, 5, *range(9, COUNT)])
    rows, seen = rows_now(tmp_path / "run", extractor)
    # Records of the same time: the later line of the manifest counts.
    assert seen == COUNT - 9 + 2
    np.testing.assert_allclose(rows, direct(images), rtol=1e-5, atol=1e-6)


def test_another_extractor_looks_for_itself(tmp_path: Path) -> None:
    write_run(tmp_path / "run", pictures(COUNT))
    rows, _ = rows_now(tmp_path / "run", TinyExtractor(seed=0))
    others, seen = rows_now(tmp_path / "run", TinyExtractor(seed=1))  # same name, other weights
    assert seen == COUNT
    assert not np.allclose(rows, others)


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", pictures(COUNT))
    extractor = TinyExtractor()
    rows, _ = rows_now(folder.path, extractor)
    (folder.features / "ref.npz").write_bytes(b"PK not a zip")
    again, seen = rows_now(folder.path, extractor)
    assert seen == COUNT
    np.testing.assert_array_equal(rows, again)


def test_rows_of_the_sampler_are_taken(tmp_path: Path) -> None:
    images = pictures(COUNT)
    folder = write_run(tmp_path / "run", images)
    sampling = TinyExtractor()
    for block in reversed(folder.blocks()):
        FeatureRecorder(folder, sampling)(block, {index: images[index] for index in block})
    assert sampling.seen == COUNT
    scoring = TinyExtractor()
    rows, seen = rows_now(folder.path, scoring)
    assert seen == 0
    np.testing.assert_allclose(rows, direct(images), rtol=1e-5, atol=1e-6)


def test_equal_images_share_a_row(tmp_path: Path) -> None:
    images = pictures(6)
    images[4] = images[1]
    folder = write_run(tmp_path / "run", images)
    rows, _ = rows_now(folder.path, TinyExtractor())
    np.testing.assert_allclose(rows, direct(images), rtol=1e-5, atol=1e-6)


def test_statistics_are_left_for_others(tmp_path: Path) -> None:
    images = pictures(COUNT)
    folder = write_run(tmp_path / "run", images)
    gather_features(folder, TinyExtractor())
    found = FeatureStatistics.load(folder.statistics / "ref.npz")
    rows = direct(images).astype(np.float64)
    assert found.n == COUNT
    np.testing.assert_allclose(found.mean, rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.cov, np.cov(rows.T), rtol=1e-4, atol=1e-9)


def test_a_folder_that_cannot_be_written_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_run(tmp_path / "run", pictures(COUNT))
    folder.features.write_text("in the way")  # a file where the folder should be
    rows, seen = rows_now(folder.path, TinyExtractor())
    assert (len(rows), seen) == (COUNT, COUNT)


def test_a_part_of_a_run_leaves_what_is_kept_of_the_whole(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", pictures(COUNT))
    extractor = TinyExtractor()
    rows, _ = rows_now(folder.path, extractor)
    part = RunImages(folder).only(range(5))
    np.testing.assert_array_equal(rows_of_run(part, extractor)["features"], rows[:5])
    assert rows_now(folder.path, extractor)[1] == 0
    assert FeatureStatistics.load(folder.statistics / "ref.npz").n == COUNT
