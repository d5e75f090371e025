"""KID: torch-fidelity's subsets, an independent formula, and what is refused."""

import numpy as np
import pytest
import torch

from dit_accel.metrics import MetricError, kernel_distance


def sets(n=300, m=250, dim=16):
    g = np.random.default_rng(0)
    return g.normal(size=(n, dim)), g.normal(size=(m, dim)) * 1.1 + 0.2


def test_one_subset_of_everything_is_the_unbiased_estimator():
    a, b = sets(40, 40)
    kernel = lambda x, y: (x @ y / 16 + 1) ** 3  # noqa: E731
    n = len(a)
    within = sum(
        kernel(z[i], z[j]) for z in (a, b) for i in range(n) for j in range(n) if i != j
    ) / (n * (n - 1))
    across = sum(kernel(x, y) for x in a for y in b) / n**2
    found = kernel_distance(a, b, num_subsets=1, subset_size=40)
    assert found.value == pytest.approx(within - 2 * across, rel=1e-10)
    assert found.std == 0


@pytest.mark.parametrize("options", [{}, {"degree": 2, "gamma": 0.3, "coef0": 0.5, "seed": 7}])
def test_equal_to_torch_fidelity_subset_by_subset(options):
    theirs = pytest.importorskip("torch_fidelity.metric_kid").kid_features_to_metric
    a, b = sets()
    names = {
        "degree": "kid_kernel_poly_degree",
        "gamma": "kid_kernel_poly_gamma",
        "coef0": "kid_kernel_poly_coef0",
        "seed": "rng_seed",
    }
    expected = theirs(
        torch.from_numpy(a),
        torch.from_numpy(b),
        kid_subsets=8,
        kid_subset_size=100,
        verbose=False,
        **{names[name]: value for name, value in options.items()},
    )
    found = kernel_distance(a, b, num_subsets=8, subset_size=100, **options)
    assert found.value == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-10)
    assert found.std == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-8)


def test_it_is_unbiased_for_equal_distributions():
    g = np.random.default_rng(3)
    found = kernel_distance(
        g.normal(size=(2000, 8)), g.normal(size=(2000, 8)), num_subsets=50, subset_size=100
    )
    assert abs(found.value) < 3 * found.std / 50**0.5


def test_the_global_generator_is_left_alone():
    np.random.seed(1)
    expected = np.random.rand()
    np.random.seed(1)
    kernel_distance(*sets(), num_subsets=2, subset_size=10)
    assert np.random.rand() == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"subset_size": 1000}, "got 250, expected at least subset_size = 1000 rows; pass 250"),
        ({"subset_size": 1}, "the unbiased estimator needs pairs"),
        ({"subset_size": 10, "num_subsets": 0}, "expected at least 1 and 2"),
    ],
)
def test_impossible_subsets_are_refused(options, words):
    with pytest.raises(MetricError, match=words):
        kernel_distance(*sets(), **options)


def test_features_of_two_extractors_are_refused():
    with pytest.raises(MetricError, match=r"b: got \[9, 4\], expected shape \[N, 3\]"):
        kernel_distance(np.zeros((9, 3)), np.zeros((9, 4)), subset_size=2)
