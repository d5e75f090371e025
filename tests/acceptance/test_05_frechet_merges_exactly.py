"""5. FID merged over shards is that of a single pass, 0 to itself, and that of the references."""

import numpy as np
import pytest
import torch

from dit_accel.metrics import FeatureStatistics, frechet_distance

DIM = 48


def features(seed: int, n: int = 997, shift: float = 0.0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, DIM)) * np.logspace(0, -2, DIM)
    return (rows + 0.4 + shift).astype(np.float32)


def distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    return frechet_distance(a.mean, a.cov, b.mean, b.cov)


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_shards_saved_and_merged_equal_the_single_pass(tmp_path, ranks):
    rows, reference = features(0), FeatureStatistics(DIM).update(features(1, shift=0.1))
    whole = FeatureStatistics(DIM).update(rows)
    for rank in range(ranks):  # strided and uneven, as ranks take images
        shard = FeatureStatistics(DIM)
        for batch in np.array_split(rows[rank::ranks], 5):
            shard.update(torch.from_numpy(batch))
        shard.save(tmp_path / f"rank-{rank}.npz")
    merged = FeatureStatistics(DIM)
    for rank in reversed(range(ranks)):
        merged.merge(FeatureStatistics.load(tmp_path / f"rank-{rank}.npz"))
    assert merged.n == whole.n == len(rows)
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-10)
    np.testing.assert_allclose(merged.cov, whole.cov, rtol=1e-10, atol=1e-10 * whole.cov.max())
    assert distance(merged, reference) == pytest.approx(distance(whole, reference), rel=1e-10)


@pytest.mark.parametrize("n", [20, 997])  # fewer images than features, and more
def test_distance_to_itself_is_zero(n):
    statistics = FeatureStatistics(DIM).update(features(0, n))
    assert abs(distance(statistics, statistics)) < 1e-6


def test_equal_to_torchmetrics_and_to_the_formula_of_pytorch_fid():
    image = pytest.importorskip("torchmetrics.image.fid")
    a = FeatureStatistics(DIM).update(features(0))
    b = FeatureStatistics(DIM).update(features(1, shift=0.1))
    moments = (torch.from_numpy(x) for x in (a.mean, a.cov, b.mean, b.cov))
    assert distance(a, b) == pytest.approx(image._compute_fid(*moments).item(), rel=1e-6)

    linalg = pytest.importorskip("scipy.linalg")
    root = linalg.sqrtm(a.cov @ b.cov)  # pytorch-fid, ADM, clean-fid
    shift = a.mean - b.mean
    published = shift @ shift + np.trace(a.cov + b.cov - 2 * root.real)
    assert distance(a, b) == pytest.approx(published, rel=1e-6)
