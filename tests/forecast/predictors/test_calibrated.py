"""Fitted weights."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dit_accel.forecast.predictors.calibrated import LeastSquares
from dit_accel.forecast.predictors.polynomial import newton_weights

LINE = newton_weights([4, 1, 0], 6, 1)


def random_regressors(count: int = 3, seed: int = 0) -> list[Tensor]:
    """``count`` tensors ``[2, 5, 4]``."""
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randn(count, 2, 5, 4, generator=generator, dtype=torch.float64))


def fitted_to(target: Tensor, regressors: list[Tensor]) -> LeastSquares:
    squares = LeastSquares(len(regressors))
    squares.update(target, regressors)
    return squares


def test_known_coefficients_are_recovered() -> None:
    known = np.array([1.7, -0.9, 0.15])
    squares = LeastSquares(3)
    for seed in range(4):
        regressors = random_regressors(seed=seed)
        target = sum((w * x for w, x in zip(known, regressors, strict=True)), torch.zeros(()))
        squares.update(target, regressors)
    fit = squares.fit(LINE, ridge=0.0)
    np.testing.assert_allclose(fit.weights, known, atol=1e-12)
    assert fit.error < 1e-7


def test_agrees_with_numpy_on_the_stacked_problem() -> None:
    data = [(random_regressors(4, seed), random_regressors(1, 50 + seed)[0]) for seed in range(3)]
    squares, ridge, prior = LeastSquares(4), 0.01, np.array([1.0, 0.5, 0.0, -0.5])
    for regressors, target in data:
        squares.update(target, regressors)
    design = np.stack([torch.cat([r[k].flatten() for r, _ in data]).numpy() for k in range(4)], 1)
    truth = torch.cat([target.flatten() for _, target in data]).numpy()
    penalty = np.diag(np.sqrt(ridge) * np.linalg.norm(design, axis=0))
    stacked = np.concatenate([design, penalty]), np.concatenate([truth, penalty @ prior])
    expected = np.linalg.lstsq(*stacked, rcond=None)[0]
    fit = squares.fit(prior, ridge)
    np.testing.assert_allclose(fit.weights, expected, rtol=1e-9)
    residual = np.linalg.norm(truth - design @ expected) / np.linalg.norm(truth)
    assert fit.error == pytest.approx(residual)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 999), st.floats(0, 100), st.sampled_from([1e-9, 1e-3, 1.0]))
def test_never_worse_in_sample_than_its_prior(seed: int, ridge: float, spread: float) -> None:
    """Also where the snapshots are nearly equal, which they are at a spread of 1e-9."""
    base, *noise, target = random_regressors(4, seed)
    regressors = [base, *(base + spread * x for x in noise)]
    squares = fitted_to(base + spread * target, regressors)
    for prior in ([1.0, 0.0, 0.0], LINE):
        fit = squares.fit(prior, ridge)
        assert np.isfinite(fit.weights).all()
        assert fit.error <= squares.relative_error(prior) * (1 + 1e-9) + 1e-7


def test_not_worse_in_sample_than_any_linear_predictor() -> None:
    *regressors, target = random_regressors(4)
    squares = fitted_to(target, regressors)
    error = squares.fit(LINE).error
    for order in range(3):
        assert error <= squares.relative_error(newton_weights([4, 1, 0], 6, order))


def test_equal_snapshots_keep_the_prior_between_them() -> None:
    snapshot, target = random_regressors(2)
    fit = fitted_to(target, [snapshot, snapshot.clone()]).fit([2.0, -1.0])
    assert fit.weights[0] - fit.weights[1] == pytest.approx(3.0)
    best = (snapshot * target).sum() / snapshot.square().sum()
    assert fit.weights.sum() == pytest.approx(best.item(), abs=1e-5)


def test_scale_of_a_regressor_only_scales_its_weight() -> None:
    first, second, target = random_regressors()
    fit = fitted_to(target, [first, second]).fit([1.0, 0.0], ridge=0.1)
    scaled = fitted_to(target, [first, 1e6 * second]).fit([1.0, 0.0], ridge=0.1)
    np.testing.assert_allclose(scaled.weights * [1.0, 1e6], fit.weights, rtol=1e-9)


def test_a_silent_regressor_keeps_its_prior() -> None:
    first, target = random_regressors(2)
    fit = fitted_to(target, [first, torch.zeros_like(first)]).fit([1.0, 0.25], ridge=0.0)
    assert fit.weights[1] == 0.25


def test_a_large_ridge_returns_the_prior() -> None:
    *regressors, target = random_regressors(4)
    fit = fitted_to(target, regressors).fit(LINE, ridge=1e12)
    np.testing.assert_allclose(fit.weights, LINE, atol=1e-9)


def test_slices_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    *regressors, target = random_regressors(4)
    whole = fitted_to(target, regressors).moments
    monkeypatch.setattr("dit_accel.forecast.predictors.calibrated.SLICE", 7)
    np.testing.assert_allclose(fitted_to(target, regressors).moments, whole, rtol=1e-12)


def test_half_precision_is_accumulated_in_float64() -> None:
    *regressors, target = (x.bfloat16() for x in random_regressors(4))
    wide = fitted_to(target.double(), [x.double() for x in regressors])
    assert np.array_equal(fitted_to(target, regressors).moments, wide.moments)


def test_degenerate_targets() -> None:
    (regressor,) = random_regressors(1)
    squares = fitted_to(torch.zeros_like(regressor), [regressor])
    assert squares.relative_error([0.0]) == 0.0
    assert squares.relative_error([1.0]) == float("inf")


def test_wrong_data_are_refused() -> None:
    first, second, target = random_regressors()
    with pytest.raises(ValueError, match="at least one regressor, got 0"):
        LeastSquares(0)
    with pytest.raises(ValueError, match="expected 3 regressors"):
        LeastSquares(3).update(target, [first, second])
    with pytest.raises(ValueError, match="expected 2 regressors of shape"):
        LeastSquares(2).update(target, [first, second[:1]])
    with pytest.raises(ValueError, match="NaN or Inf"):
        LeastSquares(1).update(target, [first / 0])
    with pytest.raises(ValueError, match="a prior of 2 weights"):
        fitted_to(target, [first, second]).fit([1.0])
    with pytest.raises(ValueError, match="ridge of at least 0"):
        fitted_to(target, [first]).fit([1.0], ridge=-1.0)
