"""FID∞: the bias of a finite set is gone."""

import numpy as np
import pytest

from dit_accel.metrics import MetricError, frechet_distance, frechet_extrapolated


def test_the_extrapolated_distance_is_nearer_to_the_true_one():
    """Equal distributions: the true distance is 0, and that of 1000 images is far from it."""
    dim = 16
    rows = np.random.default_rng(0).normal(size=(1000, dim))
    found = frechet_extrapolated(rows, np.zeros(dim), np.eye(dim))
    biased = frechet_distance(rows.mean(axis=0), np.cov(rows.T), np.zeros(dim), np.eye(dim))
    assert abs(found.value) < 0.3 * biased
    assert found.slope > 0
    assert found.sizes[0] == 100
    assert found.sizes[-1] == 1000
    assert found.distances[-1] == pytest.approx(biased, rel=1e-10)


def test_the_line_goes_through_the_distances():
    rows = np.random.default_rng(1).normal(size=(400, 4)) + 0.5
    found = frechet_extrapolated(rows, np.zeros(4), np.eye(4), num_points=2)
    line = [found.value + found.slope / n for n in found.sizes]
    assert line == pytest.approx(found.distances)


def test_the_seed_decides_the_subsets_and_nothing_else_does():
    rows = np.random.default_rng(1).normal(size=(400, 4))
    first, same, other = (
        frechet_extrapolated(rows, np.zeros(4), np.eye(4), seed=seed) for seed in (1, 1, 2)
    )
    assert first == same
    assert first.value != other.value


@pytest.mark.parametrize(
    ("n", "points", "words"), [(39, 15, "at least 4 D = 40 rows"), (50, 1, "num_points")]
)
def test_too_little_for_a_line_is_refused(n, points, words):
    rows = np.random.default_rng(0).normal(size=(n, 10))
    with pytest.raises(MetricError, match=words):
        frechet_extrapolated(rows, np.zeros(10), np.eye(10), num_points=points)
