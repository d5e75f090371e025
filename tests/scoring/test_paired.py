"""Paired metrics against torchmetrics and against their formulas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scored_runs import TinyExtractor, pictures, write_run
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from dit_accel.errors import DitAccelError
from dit_accel.scoring.features import extract_rows
from dit_accel.scoring.paired import mean_value
from dit_accel.scoring.score import score

COUNT = 65  # more than a batch, so that the last one holds a single pair


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs")
    write_run(path / "dense", pictures(COUNT))
    write_run(path / "plan", noisy(pictures(COUNT)), plan="plan")
    return path


def noisy(images: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).integers(-9, 10, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


def unit(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def scored(runs: Path, metric: str, target: str = "plan") -> float | None:
    [record] = score(
        runs / target,
        [metric],
        baseline=runs / "dense",
        extractors={"ref": TinyExtractor()},
    )
    assert record.n == COUNT
    assert record.baseline is not None
    return record.value


def test_psnr_is_the_mean_of_torchmetrics_values(runs: Path) -> None:
    pairs = zip(unit(noisy(pictures(COUNT))), unit(pictures(COUNT)), strict=True)
    expected = [float(PeakSignalNoiseRatio(data_range=1.0)(a[None], b[None])) for a, b in pairs]
    assert scored(runs, "psnr") == pytest.approx(np.mean(expected), rel=1e-6)


def test_ssim_is_torchmetrics_value(runs: Path) -> None:
    metric = StructuralSimilarityIndexMeasure(data_range=1.0)
    expected = float(metric(unit(noisy(pictures(COUNT))), unit(pictures(COUNT))))
    assert scored(runs, "ssim") == pytest.approx(expected, rel=1e-5)


def test_cosine_of_features(runs: Path) -> None:
    a, b = (
        torch.from_numpy(extract_rows(images, [TinyExtractor()])[0]["features"])
        for images in (noisy(pictures(COUNT)), pictures(COUNT))
    )
    expected = float(torch.nn.functional.cosine_similarity(a, b).mean())
    assert scored(runs, "feature_cosine") == pytest.approx(expected, rel=1e-5)


def test_identical_pictures(runs: Path) -> None:
    assert scored(runs, "psnr", "dense") is None  # infinite, which JSON has no form for
    assert scored(runs, "ssim", "dense") == pytest.approx(1)
    assert scored(runs, "feature_cosine", "dense") == pytest.approx(1)
    assert scored(runs, "fd_to_dense", "dense") == pytest.approx(0, abs=1e-9)


def test_distance_to_dense_has_the_narrow_interval_of_shared_seeds(runs: Path) -> None:
    extractors = {"ref": TinyExtractor()}
    np.savez(runs / "dense.npz", arr_0=pictures(COUNT))
    [to_dense] = score(
        runs / "plan", ["fd_to_dense"], baseline=runs / "dense", extractors=extractors
    )
    [to_set] = score(runs / "plan", ["fd_ref"], reference=runs / "dense.npz", extractors=extractors)
    assert to_dense.value == pytest.approx(to_set.value)
    assert to_dense.interval is not None
    assert to_set.interval is not None
    widths = [high - low for low, high in (to_dense.interval, to_set.interval)]
    assert widths[0] < widths[1] / 2


def test_interval_of_a_mean() -> None:
    draw = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        interval = mean_value("m", "M", draw.normal(3.0, 2.0, 200)).interval
        assert interval is not None
        covered += 3.0 in interval
    assert 0.92 < covered / 300 < 0.98
    assert mean_value("m", "M", np.array([1.0])).interval is None


def test_pictures_of_another_size_are_refused(runs: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "large", pictures(COUNT, size=24))
    with pytest.raises(DitAccelError, match=r"24 x 24.*16 x 16"):
        score(tmp_path / "large", ["psnr"], baseline=runs / "dense")
