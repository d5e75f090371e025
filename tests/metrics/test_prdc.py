"""PRDC against brute force, torch-fidelity, near-duplicates, ties, and its blocks."""

from importlib import import_module

import numpy as np
import pytest
import torch

from dit_accel.metrics import MetricError, prdc

# The function of the same name hides the module from an ordinary import.
module = import_module("dit_accel.metrics.prdc")


def sets(n=150, m=120, dim=6, dtype="float64"):
    g = np.random.default_rng(0)
    return g.normal(size=(n, dim)).astype(dtype), (g.normal(size=(m, dim)) + 0.7).astype(dtype)


def brute_force(real, fake, k):
    """Straight from the papers, one pair at a time and by differences."""
    far = lambda x, y: np.sqrt(((x[:, None] - y[None]) ** 2).sum(axis=-1))  # noqa: E731
    real_radius, fake_radius = (np.sort(far(x, x), axis=1)[:, k] for x in (real, fake))
    across = far(real, fake)
    inside = across < real_radius[:, None]
    return (
        (across <= real_radius[:, None]).any(axis=0).mean(),
        (across <= fake_radius[None]).any(axis=1).mean(),
        inside.sum() / (k * len(fake)),
        inside.any(axis=1).mean(),
    )


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("block", [7, 64, 2048])
def test_equal_to_brute_force_in_any_blocks(k, block, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", block)
    real, fake = sets()
    assert prdc(real, fake, nearest_k=k) == pytest.approx(brute_force(real, fake, k), abs=1e-12)


def test_two_neighbourhoods_in_one_pass():
    real, fake = sets()
    precision, recall, *_ = brute_force(real, fake, 3)
    *_, density, coverage = brute_force(real, fake, 5)
    expected = (precision, recall, density, coverage)
    assert prdc(real, fake, nearest_k=(3, 5)) == pytest.approx(expected, abs=1e-12)
    assert prdc(real, fake, nearest_k=(5, 3))[:2] == prdc(real, fake, nearest_k=5)[:2]


@pytest.mark.parametrize("k", [3, 5])
def test_precision_and_recall_equal_to_torch_fidelity(k):
    theirs = pytest.importorskip("torch_fidelity.metric_prc").prc_features_to_metric
    real, fake = sets(400, 300, 32, "float32")
    expected = theirs(
        torch.from_numpy(fake), torch.from_numpy(real), prc_neighborhood=k, verbose=False
    )
    found = prdc(real, fake, nearest_k=k)
    assert found.precision == pytest.approx(expected["precision"], abs=1e-5)
    assert found.recall == pytest.approx(expected["recall"], abs=1e-5)


def test_the_same_set_twice():
    real, _ = sets()
    precision, recall, density, coverage = prdc(real, real.copy())
    assert (precision, recall, coverage) == (1, 1, 1)
    # Every ball holds the row itself and its four nearer neighbours; the fifth is on the rim.
    assert density == pytest.approx(1, abs=1e-12)


def test_near_duplicates_far_from_the_origin_keep_their_distances():
    """In float32, |x|² = 4e6 leaves nothing of distances below 1."""
    g = np.random.default_rng(0)
    real = (1000 + g.normal(size=(60, 4)) * 1e-2).astype("float32")
    fake = (1000 + g.normal(size=(60, 4)) * 1e-2).astype("float32")
    expected = brute_force(real.astype("float64"), fake.astype("float64"), 3)
    assert prdc(real, fake, nearest_k=3) == pytest.approx(expected, abs=1e-12)


def test_exact_duplicates_have_distance_zero():
    """Rows that occur k + 1 times have balls of radius 0: their copies are on the rim (≤), not
    inside (<)."""
    rows = np.random.default_rng(0).normal(size=(20, 300))
    real = np.repeat(rows, 4, axis=0)
    assert prdc(real, rows.copy()[:10].repeat(4, axis=0), nearest_k=3) == (1.0, 0.5, 0.0, 0.0)


@pytest.mark.parametrize("k", [0, (3, 0), (3, 4, 5)])
def test_impossible_neighbours_are_refused(k):
    with pytest.raises(MetricError, match="nearest_k"):
        prdc(*sets(), nearest_k=k)


def test_too_few_rows_are_refused():
    with pytest.raises(MetricError, match="fake: got 5, expected at least 6 rows"):
        prdc(sets()[0], sets()[1][:5])


def test_no_matrix_is_larger_than_a_block(monkeypatch):
    """What bounds the memory; ``scripts/score_at_scale.py`` measures it at full size."""
    sizes, distances = [], module._squared_distances

    def record(x, y):
        found = distances(x, y)
        sizes.append(found.numel())
        return found

    monkeypatch.setattr(module, "_BLOCK", 64)
    monkeypatch.setattr(module, "_squared_distances", record)
    prdc(*sets(1000, 900))
    assert max(sizes) == 64**2
    # 16 × 16 and 15 × 15 blocks by half, with their diagonals, and 16 × 15.
    assert len(sizes) == 136 + 120 + 240
