"""Files of statistics, written the way the tools write them."""

import numpy as np
import pytest
import torch
from torch import nn

from dit_accel.metrics import FeatureStatistics, MetricError, frechet_distance, read_statistics

ROWS = np.random.default_rng(0).normal(size=(60, 5))
MU, SIGMA = ROWS.mean(axis=0), np.cov(ROWS, rowvar=False)


def assert_moments(moments, n=None):
    np.testing.assert_allclose(moments.mean, MU, rtol=1e-10)
    np.testing.assert_allclose(moments.cov, SIGMA, rtol=1e-10)
    assert moments.n == n


def test_ours(tmp_path):
    FeatureStatistics(5).update(ROWS).save(tmp_path / "a.npz")
    found = read_statistics(tmp_path / "a.npz")
    assert found.source == "dit_accel"
    assert_moments(found.moments["features"], 60)


def test_adm_reference_with_images(tmp_path):
    images = np.zeros((3, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "VIRTUAL.npz", images, mu=MU, sigma=SIGMA, mu_s=MU[:2], sigma_s=np.eye(2))
    found = read_statistics(tmp_path / "VIRTUAL.npz")
    assert found.source == "adm"
    assert_moments(found.moments["features"])
    np.testing.assert_array_equal(found.moments["spatial"].mean, MU[:2])


def test_clean_fid_and_pytorch_fid(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", mu=MU, sigma=SIGMA)
    np.savez_compressed(tmp_path / "a_kid.npz", feats=ROWS)
    found = read_statistics(tmp_path / "a.npz")
    assert found.source == "moments"
    assert_moments(found.moments["features"])
    assert np.array_equal(read_statistics(tmp_path / "a_kid.npz").features, ROWS)


def test_cache_of_torch_fidelity(tmp_path):
    metric = pytest.importorskip("torch_fidelity.metric_fid")
    torch.save(metric.fid_features_to_statistics(torch.from_numpy(ROWS)), tmp_path / "stat.pt")
    torch.save(torch.from_numpy(ROWS).float(), tmp_path / "features.pt")
    found = read_statistics(tmp_path / "stat.pt")
    assert found.source == "torch-fidelity"
    assert_moments(found.moments["features"])
    assert read_statistics(tmp_path / "features.pt").features.dtype == np.float32


class Flat(nn.Module):
    """A feature extractor whose features are the pixels."""

    num_features = 12

    def forward(self, images):
        return images.flatten(1).double() / 255


def torchmetrics_fid():
    image = pytest.importorskip("torchmetrics.image.fid")
    g = np.random.default_rng(0)
    real, fake = (
        torch.from_numpy(g.integers(low, high, size=(80, 3, 2, 2), dtype=np.uint8))
        for low, high in ((0, 256), (40, 256))
    )
    metric = image.FrechetInceptionDistance(feature=Flat(), input_img_size=(3, 2, 2))
    metric.set_dtype(torch.float64)
    metric.persistent(True)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return metric, Flat()(real), Flat()(fake)


def test_distance_equal_to_torchmetrics_with_a_custom_module():
    metric, real, fake = torchmetrics_fid()
    a, b = (FeatureStatistics(12).update(rows) for rows in (real, fake))
    ours = frechet_distance(a.mean, a.cov, b.mean, b.cov)
    assert ours == pytest.approx(metric.compute().item(), rel=1e-6)


@pytest.mark.parametrize("prefix", ["", "metrics.fid."])
def test_state_of_torchmetrics(tmp_path, prefix):
    metric, real, _ = torchmetrics_fid()
    torch.save({prefix + k: v for k, v in metric.state_dict().items()}, tmp_path / "fid.pth")
    found = read_statistics(tmp_path / "fid.pth")
    assert found.source == "torchmetrics"
    moments = found.moments["features"]
    np.testing.assert_allclose(moments.mean, real.mean(dim=0))
    np.testing.assert_allclose(moments.cov, np.cov(real.T), rtol=1e-9, atol=1e-12)
    assert moments.n == 80


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"arr_0": np.zeros((2, 4, 4, 3), np.uint8)}, "make a reference of them"),
        ({"mu": MU, "sigma": SIGMA[:3]}, r"\[D\] and \[D, D\]"),
        ({"mu": MU * np.nan, "sigma": SIGMA}, "NaN"),
        ({"feats": ROWS[0]}, r"shape \[N, D\]"),
    ],
)
def test_npz_without_statistics_is_refused_by_name(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(MetricError, match=words) as error:
        read_statistics(tmp_path / "a.npz")
    assert "a.npz" in str(error.value)


def test_torch_files_without_statistics_are_refused(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "a.pt")
    with pytest.raises(MetricError, match=r"a\.pt: got .*weight"):
        read_statistics(tmp_path / "a.pt")
    torch.save([1, 2], tmp_path / "b.pt")
    with pytest.raises(MetricError, match=r"b\.pt: got .*list"):
        read_statistics(tmp_path / "b.pt")
    torch.save({"real_features_sum": torch.zeros(3)}, tmp_path / "c.pt")
    with pytest.raises(MetricError, match="real_features_cov_sum"):
        read_statistics(tmp_path / "c.pt")


class Payload:
    """What a malicious file holds: unpickling it calls something."""

    def __reduce__(self):
        return (eval, ("1 + 1",))


def test_nothing_in_a_file_is_executed(tmp_path):
    torch.save({"mu": Payload()}, tmp_path / "a.pt")
    with pytest.raises(MetricError, match="no file of plain tensors") as error:
        read_statistics(tmp_path / "a.pt")
    assert "weights_only" not in str(error.value)
    np.savez(tmp_path / "b.npz", mu=np.array([Payload()], dtype=object), sigma=SIGMA)
    with pytest.raises(MetricError, match="cannot be read"):
        read_statistics(tmp_path / "b.npz")


@pytest.mark.parametrize("name", ["none.npz", "none.pt"])
def test_missing_and_broken_files_are_named(tmp_path, name):
    with pytest.raises(MetricError, match=name):
        read_statistics(tmp_path / name)
    (tmp_path / name).write_bytes(b"not a file of anything")
    with pytest.raises(MetricError, match=name):
        read_statistics(tmp_path / name)
