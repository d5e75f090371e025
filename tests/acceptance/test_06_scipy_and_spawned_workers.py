"""6. Scores need no SciPy, and work in processes that are forked from a server (Python 3.14)."""

import multiprocessing
import subprocess
import sys

import numpy as np
import pytest

from dit_accel.metrics import FeatureStatistics, MetricError, frechet_distance, kernel_distance

WITHOUT_SCIPY = """
import sys
from importlib.machinery import PathFinder

find = PathFinder.find_spec


@classmethod
def find_all_but_scipy(cls, name, path=None, target=None):
    return None if name.partition(".")[0] == "scipy" else find(name, path, target)


PathFinder.find_spec = find_all_but_scipy  # to every importer as if it were not installed

import numpy as np

from dit_accel import metrics

rows = np.random.default_rng(0).normal(size=(80, 6))
mean, cov = np.zeros(6), np.eye(6)
statistics = metrics.FeatureStatistics(6).update(rows)
print(metrics.frechet_distance(statistics.mean, statistics.cov, mean, cov))
metrics.frechet_interval(rows, mean, cov)
metrics.frechet_extrapolated(rows, mean, cov)
metrics.kernel_distance(rows, rows + 1, num_subsets=2, subset_size=40)
metrics.prdc(rows, rows + 1)
metrics.inception_score(rows)
metrics.cmmd(rows, rows + 1)
assert not any(name.partition(".")[0] == "scipy" for name in sys.modules)
"""


def test_every_score_without_scipy():
    done = subprocess.run([sys.executable, "-c", WITHOUT_SCIPY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = np.random.default_rng(0).normal(size=(80, 6))
    expected = frechet_distance(
        rows.mean(axis=0), np.cov(rows, rowvar=False), np.zeros(6), np.eye(6)
    )
    assert float(done.stdout) == pytest.approx(expected, rel=1e-10)


def test_a_worker_of_a_forkserver_returns_the_same_numbers():
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    rows = np.random.default_rng(0).normal(size=(80, 6))
    options = {"num_subsets": 2, "subset_size": 20}
    with context.Pool(1) as pool:
        distance = pool.apply(kernel_distance, (rows, rows + 1), options)
        # A bound method: the statistics travel there and back.
        shard = pool.apply(FeatureStatistics(6).update(rows[:30]).update, (rows[30:50],))
        with pytest.raises(MetricError, match="row 0 holds a NaN"):
            pool.apply(FeatureStatistics(6).update, (rows * np.nan,))
    assert distance == kernel_distance(rows, rows + 1, **options)
    merged = FeatureStatistics(6).update(rows[50:]).merge(shard)
    assert np.allclose(merged.cov, np.cov(rows, rowvar=False), rtol=1e-10)
