"""CMMD against the formula of the published code."""

from importlib import import_module

import numpy as np
import pytest

from dit_accel.metrics import MetricError, cmmd

# The function of the same name hides the module from an ordinary import.
module = import_module("dit_accel.metrics.cmmd")


def unit(n, seed, dim=12, shift=0.0):
    rows = np.random.default_rng(seed).normal(size=(n, dim)) + shift
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def published(x, y):
    """google-research/cmmd, distance.py: mean over all pairs, σ = 10, × 1000."""
    gamma = 1 / (2 * 10**2)

    def mean(u, v):
        squares = (u**2).sum(axis=1)[:, None] + (v**2).sum(axis=1)[None] - 2 * u @ v.T
        return np.exp(-gamma * squares).mean()

    return 1000 * (mean(x, x) + mean(y, y) - 2 * mean(x, y))


@pytest.mark.parametrize("block", [7, 2048])
def test_equal_to_the_published_formula_in_any_blocks(block, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", block)
    x, y = unit(50, 0), unit(40, 1, shift=0.3)
    assert cmmd(x, y) == pytest.approx(published(x, y), rel=1e-9)


def test_lengths_do_not_count():
    x, y = unit(50, 0), unit(40, 1)
    assert cmmd(3 * x, 0.1 * y) == pytest.approx(cmmd(x, y), rel=1e-9)


def test_the_same_set_twice_is_zero():
    assert cmmd(unit(50, 0), unit(50, 0)) == pytest.approx(0, abs=1e-9)


def test_a_row_without_direction_is_refused():
    x = unit(5, 0)
    x[3] = 0
    with pytest.raises(MetricError, match="b: row 3 is zero"):
        cmmd(unit(5, 0), x)


def test_a_kernel_without_width_is_refused():
    with pytest.raises(MetricError, match="sigma"):
        cmmd(unit(5, 0), unit(5, 1), sigma=0)
