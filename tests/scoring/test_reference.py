"""Reference files: there and back, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scored_runs import TinyExtractor, pictures

from dit_accel.errors import DitAccelError
from dit_accel.extractors.inception import FIDInception
from dit_accel.extractors.inception_extractors import InceptionExtractor
from dit_accel.extractors.resize import tf_resize
from dit_accel.metrics.statistics_files import read_statistics
from dit_accel.scoring.features import extract_rows
from dit_accel.scoring.image_sets import FirstImages, ImageSet
from dit_accel.scoring.opening import open_image_set, open_source
from dit_accel.scoring.reference import check_reference_path, make_reference

COUNT = 30


@pytest.fixture
def real(tmp_path: Path) -> ImageSet:
    np.savez(tmp_path / "real.npz", arr_0=pictures(COUNT))
    return open_image_set(tmp_path / "real.npz")


@pytest.mark.parametrize("with_rows", [True, False])
def test_holds_what_scores_need(real: ImageSet, tmp_path: Path, with_rows: bool) -> None:
    extractor = TinyExtractor()
    make_reference(real, extractor, tmp_path / "ref.npz", with_rows=with_rows)
    found = open_source(tmp_path / "ref.npz")
    assert (found.count, found.made_with and found.made_with["name"]) == (COUNT, "ref")
    rows = extract_rows(pictures(COUNT), [extractor])[0]
    features = found.features(extractor)
    for output in ("features", "spatial"):
        moments = features.statistics(output)
        np.testing.assert_allclose(moments.mean, rows[output].mean(0), rtol=1e-5)
        expected = np.cov(rows[output].astype(np.float64).T)
        np.testing.assert_allclose(moments.cov, expected, rtol=1e-4, atol=1e-8)
    assert found.supplies("features", rows=True) is with_rows
    if with_rows:
        np.testing.assert_array_equal(features.rows(), rows["features"])
    else:
        with pytest.raises(DitAccelError, match="no features of single images"):
            features.rows()


def test_other_tools_can_read_it(real: ImageSet, tmp_path: Path) -> None:
    make_reference(real, TinyExtractor(), tmp_path / "ref.npz")
    moments = read_statistics(tmp_path / "ref.npz").moments
    with np.load(tmp_path / "ref.npz", allow_pickle=False) as file:  # as pytorch-fid does
        np.testing.assert_array_equal(file["mu"], moments["features"].mean)
        np.testing.assert_allclose(file["sigma"], moments["features"].cov)
        assert {"mu_s", "sigma_s"} <= set(file)


def test_features_of_another_length_are_refused(real: ImageSet, tmp_path: Path) -> None:
    make_reference(real, TinyExtractor(dim=6), tmp_path / "ref.npz")
    with pytest.raises(DitAccelError, match="holds 6 features, expected 7"):
        open_source(tmp_path / "ref.npz").features(TinyExtractor(dim=7))


def test_a_failed_reference_leaves_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    (folder / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DitAccelError, match=r"broken\.png"):
        make_reference(open_image_set(folder), TinyExtractor(), tmp_path / "ref.npz")
    assert not list(tmp_path.glob("*.npz"))


def test_the_name_must_end_in_npz(tmp_path: Path) -> None:
    check_reference_path(tmp_path / "ref.npz")
    with pytest.raises(DitAccelError, match=r"ending in \.npz"):
        check_reference_path(tmp_path / "ref")


def test_what_is_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DitAccelError, match="there is nothing"):
        open_source(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(DitAccelError, match="cannot be read"):
        open_source(tmp_path / "text.npz")


def test_inception_statistics_have_the_shapes_of_adm(real: ImageSet, tmp_path: Path) -> None:
    """2048 pooled features; 7 channels of a 17 x 17 map, whose 2023 values make sFID."""
    network = FIDInception()
    extractor = InceptionExtractor("inception-tf", "TensorFlow 1 bilinear", tf_resize, network)
    make_reference(FirstImages(real, 3), extractor, tmp_path / "ref.npz")
    with np.load(tmp_path / "ref.npz", allow_pickle=False) as file:
        assert file["mu"].shape == (2048,)
        assert file["sigma"].shape == (2048, 2048)
        assert file["mu_s"].shape == (7 * 17 * 17,) == (2023,)
        assert file["sigma_s"].shape == (2023, 2023)
        assert file["features"].shape == (3, 2048)
    assert set(read_statistics(tmp_path / "ref.npz").moments) == {"features", "spatial"}
