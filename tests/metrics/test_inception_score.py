"""Inception score: limits, torch-fidelity's order, ADM's order."""

import numpy as np
import pytest
import torch

from dit_accel.metrics import MetricError, inception_score


def logits(n=333, classes=12):
    return np.random.default_rng(0).normal(size=(n, classes)) * 3


def test_certain_and_evenly_spread_predictions_reach_the_number_of_classes():
    certain = np.tile(np.eye(7) * 1000, (10, 1))
    assert inception_score(certain, splits=1).value == pytest.approx(7, rel=1e-12)


def test_the_same_prediction_for_all_is_one():
    found = inception_score(np.tile(logits(1), (50, 1)), splits=5)
    assert (found.value, found.std) == pytest.approx((1, 0), abs=1e-12)


@pytest.mark.parametrize(("splits", "dtype"), [(10, "float32"), (1, "float64"), (7, "float64")])
def test_equal_to_torch_fidelity(splits, dtype):
    theirs = pytest.importorskip("torch_fidelity.metric_isc").isc_features_to_metric
    rows = logits().astype(dtype)
    expected = theirs(torch.from_numpy(rows), splits=splits)
    found = inception_score(rows, splits=splits)
    assert found.value == pytest.approx(expected["inception_score_mean"], rel=1e-10)
    assert found.std == pytest.approx(expected["inception_score_std"], rel=1e-8, abs=1e-12)


def test_without_a_seed_parts_are_cut_in_order_as_by_adm():
    rows = logits(300)
    p = np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)
    scores = []
    for part in (p[:100], p[100:200], p[200:]):  # ADM: split_size = 100
        kl = part * (np.log(part) - np.log(part.mean(axis=0, keepdims=True)))
        scores.append(np.exp(kl.sum(axis=1).mean()))
    found = inception_score(rows, splits=3, seed=None)
    assert found.value == pytest.approx(np.mean(scores), rel=1e-10)
    assert found.std == pytest.approx(np.std(scores), rel=1e-8)


@pytest.mark.parametrize(
    ("splits", "words"), [(0, "at least 1"), (10, "logits: got 5, expected at least 10 rows")]
)
def test_parts_that_cannot_be_cut_are_refused(splits, words):
    with pytest.raises(MetricError, match=words):
        inception_score(logits(5), splits=splits)
