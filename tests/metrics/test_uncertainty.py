"""Intervals of Fréchet distances: the gradient behind them, and how often they cover."""

import numpy as np
import pytest

from dit_accel.metrics import (
    MetricError,
    frechet_difference_interval,
    frechet_distance,
    frechet_influence,
    frechet_interval,
    frechet_subset_interval,
)


def reference(dim=8):
    turn = np.random.default_rng(9).normal(size=(dim, dim))
    return np.full(dim, 0.3), turn @ turn.T / dim


def test_influence_is_the_derivative_in_the_weight_of_an_image():
    n = 500
    rows = np.random.default_rng(0).normal(size=(n, 8))
    mean, cov = reference()

    def distance(weights):
        weights = weights / weights.sum()
        center = weights @ rows
        rest = rows - center
        return frechet_distance(center, (rest * weights[:, None]).T @ rest, mean, cov)

    found = frechet_influence(rows, mean, cov)
    assert found.mean() == pytest.approx(0, abs=1e-12)
    for row in range(4):
        step = np.zeros(n)
        step[row] = 1e-4
        slope = (distance(1 / n + step) - distance(1 / n - step)) / 2e-4
        # The covariance here is divided by n, there by n − 1.
        assert found[row] == pytest.approx(slope, rel=5 / n, abs=5 / n)


def test_the_interval_is_around_the_distance():
    rows = np.random.default_rng(0).normal(size=(100, 8))
    mean, cov = reference()
    interval = frechet_interval(rows, mean, cov, level=0.9)
    distance = frechet_distance(rows.mean(axis=0), np.cov(rows.T), mean, cov)
    assert (interval.low + interval.high) / 2 == pytest.approx(distance, rel=1e-10)
    assert interval.level == 0.9
    assert distance in interval
    wider = frechet_interval(rows, mean, cov, level=0.99)
    assert wider.low < interval.low < interval.high < wider.high


def test_the_same_set_twice_differs_by_nothing():
    rows = np.random.default_rng(0).normal(size=(100, 8))
    interval = frechet_difference_interval(rows, rows, *reference())
    assert (interval.low, interval.high) == (0, 0)


def test_what_the_seeds_share_cancels_from_the_difference():
    g = np.random.default_rng(0)
    a = g.normal(size=(400, 8))
    b = a + 0.05 * g.normal(size=a.shape)
    paired = frechet_difference_interval(a, b, *reference())
    alone = frechet_interval(a, *reference())
    assert paired.high - paired.low < 0.3 * (alone.high - alone.low)


def test_fewer_images_than_features_still_have_an_interval():
    rows = np.random.default_rng(0).normal(size=(20, 64))
    interval = frechet_interval(rows, *reference(64))
    assert 0 < interval.low < interval.high < np.inf


def test_subsets_agree_with_the_influence_of_the_images():
    rows = np.random.default_rng(0).normal(size=(400, 8)) + 0.5
    mean, cov = reference()
    ours = frechet_subset_interval(rows, mean, cov, num_subsets=200, level=0.9)
    other = frechet_interval(rows, mean, cov, level=0.9)
    assert ours.level == 0.9
    assert (ours.low + ours.high) == pytest.approx(other.low + other.high)
    assert ours.high - ours.low == pytest.approx(other.high - other.low, rel=0.2)
    assert ours == frechet_subset_interval(rows, mean, cov, num_subsets=200, level=0.9)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda x, m, c: frechet_interval(x[:2], m, c), "at least 3 rows"),
        (lambda x, m, c: frechet_interval(x, m, c, level=95), "level: got 95"),
        (lambda x, m, c: frechet_subset_interval(x[:3], m, c), "at least 4 rows"),
        (lambda x, m, c: frechet_subset_interval(x, m, c, num_subsets=1), "num_subsets: got 1"),
        (lambda x, m, c: frechet_interval(x[:, :5], m, c), "expected 5 as"),
        (lambda x, m, c: frechet_influence(x[:, :5], m, c), "mean: got 8, expected 5"),
        (lambda x, m, c: frechet_difference_interval(x, x[:9], m, c), "expected 10 rows as a"),
    ],
)
def test_what_has_no_interval_is_refused(action, words):
    with pytest.raises(MetricError, match=words):
        action(np.random.default_rng(0).normal(size=(10, 8)), *reference())


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (1.0, 1.0), (3.0, 0.8)])
def test_95_percent_intervals_cover(shift, scale):
    """The simulation whose result the module's documentation states, with fewer trials."""
    dim, n, trials = 32, 256, 60
    spread = np.logspace(0, -1.5, dim)
    mean, cov = np.zeros(dim), np.diag(spread**2)
    g = np.random.default_rng(0)
    single, paired, subsets = [], [], []
    for _ in range(trials):
        noise, other = g.normal(size=(2, n, dim))
        a = (noise * scale + shift / dim**0.5) * spread
        b = (0.9 * noise + 0.19**0.5 * other) * spread
        single.append(frechet_interval(a, mean, cov))
        subsets.append(frechet_subset_interval(a, mean, cov, num_subsets=40))
        paired.append(frechet_difference_interval(a, b, mean, cov))
    for intervals in (single, paired, subsets):
        expected = np.mean([(i.low + i.high) / 2 for i in intervals])  # E[distance] at this N
        coverage = np.mean([expected in i for i in intervals])
        assert coverage >= 0.87, coverage  # 0.95 less three standard errors
