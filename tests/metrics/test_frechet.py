"""Fréchet distance: closed forms, singular covariances, and the numbers of other tools."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dit_accel.metrics import MetricError, frechet_distance


def moments(seed, dim=24, n=200, scale=1.0, shift=0.0):
    features = np.random.default_rng(seed).normal(size=(n, dim)) * scale + shift
    features = features @ np.diag(np.logspace(0, -2, dim))
    return features.mean(axis=0), np.cov(features, rowvar=False)


def test_diagonal_covariances_have_a_closed_form():
    a, b = np.array([4.0, 9.0, 0.0]), np.array([1.0, 16.0, 2.0])
    expected = 14.0 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    found = frechet_distance([1.0, 2.0, 3.0], np.diag(a), [0.0, 0.0, 0.0], np.diag(b))
    assert found == pytest.approx(expected, rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(2, 40))
def test_it_is_symmetric_not_negative_and_zero_to_itself(seed, dim, n):
    a, b = moments(seed, dim, n, 1.3), moments(seed + 1, dim, n + 3, 0.7, 0.5)
    a, b = ((m, np.atleast_2d(c)) for m, c in (a, b))
    there, back = frechet_distance(*a, *b), frechet_distance(*b, *a)
    assert there == pytest.approx(back, rel=1e-6, abs=1e-6)
    assert there > -1e-9
    assert abs(frechet_distance(*a, *a)) < 1e-6


def test_a_rotation_of_both_changes_nothing():
    a, b = moments(0), moments(1, shift=0.2)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(24, 24)))[0]
    turned = [(turn @ m, turn @ c @ turn.T) for m, c in (a, b)]
    assert frechet_distance(*turned[0], *turned[1]) == pytest.approx(
        frechet_distance(*a, *b), rel=1e-10
    )


@pytest.mark.parametrize(("n", "m"), [(20, 20), (20, 90), (90, 20), (20, 1000)])
def test_fewer_images_than_features_agree_with_the_singular_values_of_the_data(n, m):
    g = np.random.default_rng(0)
    x, y = g.normal(size=(n, 128)), g.normal(size=(m, 128)) * 1.2 + 0.1
    a, b = (
        (z - z.mean(axis=0)) / np.sqrt(len(z) - 1) for z in (x, y)
    )  # Σ = AᵀA: tr (Σ_a Σ_b)^½ is the nuclear norm of A Bᵀ
    shift = x.mean(axis=0) - y.mean(axis=0)
    nuclear = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    exact = shift @ shift + (a**2).sum() + (b**2).sum() - 2 * nuclear
    found = frechet_distance(x.mean(axis=0), np.cov(x.T), y.mean(axis=0), np.cov(y.T))
    assert found == pytest.approx(exact, rel=1e-6)
    assert abs(frechet_distance(x.mean(axis=0), np.cov(x.T), x.mean(axis=0), np.cov(x.T))) < 1e-6


def test_numpy_torch_and_lists_are_the_same():
    (mean_a, cov_a), (mean_b, cov_b) = moments(0), moments(1)
    expected = frechet_distance(mean_a, cov_a, mean_b, cov_b)
    tensors = [torch.from_numpy(x) for x in (mean_a, cov_a, mean_b, cov_b)]
    assert frechet_distance(*tensors) == expected
    assert frechet_distance(*(x.tolist() for x in tensors)) == expected


def test_float32_statistics_of_a_singular_set_are_accepted():
    mean, cov = moments(0, dim=64, n=20)
    assert frechet_distance(mean, cov.astype(np.float32), mean, cov) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("mean", "cov", "words"),
    [
        ([0.0, 0.0], [[1.0, 0.0]], r"\[D\] and \[D, D\]"),
        ([[0.0, 0.0]], np.eye(2), r"\[D\] and \[D, D\]"),
        ([0.0, np.nan], np.eye(2), "NaN"),
        ([0.0, 0.0], [[np.inf, 0.0], [0.0, 1.0]], "infinity"),
        ([0.0, 0.0], [[1.0, 0.5], [0.0, 1.0]], "cov_a: not symmetric"),
        ([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]], "cov_a: smallest eigenvalue -1"),
        ([0.0, 0.0, 0.0], np.eye(3), "mean_b: got 2, expected 3"),
        (["a", "b"], np.eye(2), "real numbers"),
    ],
)
def test_what_is_no_gaussian_is_refused(mean, cov, words):
    with pytest.raises(MetricError, match=words):
        frechet_distance(mean, cov, [0.0, 0.0], np.eye(2))


def test_equal_to_torch_fidelity():
    metric = pytest.importorskip("torch_fidelity.metric_fid")
    a, b = moments(0), moments(1, scale=1.2, shift=0.1)
    theirs = metric.fid_statistics_to_metric(
        {"mu": a[0], "sigma": a[1]}, {"mu": b[0], "sigma": b[1]}, verbose=False
    )["frechet_inception_distance"]
    assert frechet_distance(*a, *b) == pytest.approx(theirs, rel=1e-6)


def test_equal_to_the_formula_of_clean_fid():
    """``cleanfid.fid`` itself imports SciPy, whose 1.18 it no longer runs with."""
    fid = pytest.importorskip("cleanfid.fid")
    a, b = moments(0), moments(1, scale=1.2, shift=0.1)
    try:
        theirs = fid.frechet_distance(*a, *b)
    except TypeError:
        pytest.skip("this SciPy has no sqrtm(disp=False)")
    assert frechet_distance(*a, *b) == pytest.approx(theirs, rel=1e-6)
