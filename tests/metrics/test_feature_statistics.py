"""Running statistics: a monoid, exact to rounding, whole on disk."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dit_accel.metrics import FeatureStatistics, MetricError


def features(n=60, dim=5, mean=0.4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dim)) + mean


def assert_equal(statistics, rows, rtol=1e-10):
    assert statistics.n == len(rows)
    np.testing.assert_allclose(statistics.mean, rows.mean(axis=0), rtol=rtol)
    cov = np.cov(rows, rowvar=False)
    np.testing.assert_allclose(statistics.cov, cov, rtol=rtol, atol=rtol * np.abs(cov).max())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_any_partition_merged_in_any_order_is_the_single_pass(sizes, random):
    rows = features(sum(sizes) + 2, mean=1000.0)  # mean/std = 1000
    edges = np.cumsum([0, *sizes, 2])
    parts = [FeatureStatistics(5).update(rows[a:b]) for a, b in pairwise(edges)]
    random.shuffle(parts)
    while len(parts) > 1:  # any bracketing, too
        other = parts.pop(random.randrange(len(parts)))
        parts[random.randrange(len(parts))].merge(other)
    assert_equal(parts[0], rows)


def test_the_same_batches_give_the_same_bits():
    rows = features(100)
    a, b = (FeatureStatistics(5).update(rows[:37]).update(rows[37:]) for _ in range(2))
    assert np.array_equal(a.mean, b.mean)
    assert np.array_equal(a.cov, b.cov)
    assert np.array_equal(a.cov, a.cov.T)


def test_merge_works_in_place_and_leaves_the_other_alone():
    a, b = FeatureStatistics(5).update(features(10)), FeatureStatistics(5).update(features(4))
    before = b.mean
    assert a.merge(b) is a
    assert (a.n, b.n) == (14, 4)
    assert np.array_equal(b.mean, before)


def test_empty_statistics_are_neutral():
    rows = features(10)
    full = FeatureStatistics(5).update(rows)
    assert np.array_equal(FeatureStatistics(5).merge(full).cov, full.cov)
    assert np.array_equal(full.merge(FeatureStatistics(5)).update(rows[:0]).mean, full.mean)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_every_torch_float_is_summed_in_float64(dtype):
    rows = torch.from_numpy(features(300)).to(dtype).requires_grad_()
    assert_equal(FeatureStatistics(5).update(rows), rows.detach().double().numpy())


def test_batches_longer_than_a_block_are_the_same():
    rows = features(20_000, dim=2, mean=1000.0)
    assert_equal(FeatureStatistics(2).update(rows), rows)


def test_the_input_is_not_written_to():
    rows = features(10)
    copy = rows.copy()
    FeatureStatistics(5).update(rows)
    assert np.array_equal(rows, copy)


@pytest.mark.parametrize("n", [0, 1, 2, 60])
def test_save_and_load(tmp_path, n):
    rows = features(60)
    path = tmp_path / "new" / "statistics.npz"
    FeatureStatistics(5).update(rows[:n]).save(path)
    loaded = FeatureStatistics.load(path)
    assert (loaded.n, loaded.dim) == (n, 5)
    assert_equal(loaded.update(rows[n:]), rows)
    assert [file.name for file in path.parent.iterdir()] == ["statistics.npz"]


def test_other_tools_find_mu_and_sigma(tmp_path):
    rows = features(60)
    FeatureStatistics(5).update(rows).save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        np.testing.assert_allclose(file["mu"], rows.mean(axis=0))
        np.testing.assert_allclose(file["sigma"], np.cov(rows, rowvar=False))
        assert int(file["n"]) == 60


def test_one_image_has_no_sigma_to_be_scored_by_mistake(tmp_path):
    FeatureStatistics(5).update(features(1)).save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        assert "sigma" not in file


def test_a_row_that_is_not_finite_is_named():
    rows = features(10)
    rows[7, 2] = np.nan
    statistics = FeatureStatistics(5)
    with pytest.raises(MetricError, match="features: row 7 holds a NaN"):
        statistics.update(rows)
    assert statistics.n == 0


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda s: s.update(np.zeros((3, 4))), r"got \[3, 4\], expected shape \[N, 5\]"),
        (lambda s: s.update(np.zeros(5)), "one row of features an image"),
        (lambda s: s.merge(FeatureStatistics(4)), "merge: got 4, expected dim 5"),
        (lambda s: s.mean, "at least 1 vectors for a mean"),
        (lambda s: s.update(np.zeros((1, 5))).cov, "got 1, expected at least 2 vectors"),
        (lambda s: FeatureStatistics(0), "whole number from 1"),
    ],
)
def test_what_makes_no_sense_is_refused(action, words):
    with pytest.raises(MetricError, match=words):
        action(FeatureStatistics(5))


def test_loading_something_else_says_what_it_is(tmp_path):
    np.savez(tmp_path / "a.npz", mu=np.zeros(2), sigma=np.eye(2))
    with pytest.raises(MetricError, match="read_statistics"):
        FeatureStatistics.load(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(b"PK half a file")
    with pytest.raises(MetricError, match="cannot be read"):
        FeatureStatistics.load(tmp_path / "b.npz")
