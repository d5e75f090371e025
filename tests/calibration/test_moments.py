"""Fits read off inner products, against least squares on the features themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dit_accel.calibration.moments import RIDGE, Products, step_fit
from dit_accel.forecast.predictors.polynomial import newton_weights

STEPS, AFTER, STEP = (9, 6, 3, 1), (6, 3), 9


def features(seed: int = 0) -> dict[tuple[str, int], torch.Tensor]:
    """Noisy polynomials in the step, so that neighbours are nearly alike."""
    generator = torch.Generator().manual_seed(seed)

    def draw() -> torch.Tensor:
        return torch.randn(3, 40, generator=generator, dtype=torch.float64)

    parts = {name: [draw() for _ in range(3)] for name in ("last", "1")}
    return {
        (name, step): a + 0.3 * step * b + 0.02 * step**2 * c + 0.01 * draw()
        for name, (a, b, c) in parts.items()
        for step in STEPS
    }


def products(*batches: dict[tuple[str, int], torch.Tensor]) -> Products:
    found = Products(list(batches[0]))
    for batch in batches:
        found.add(torch.stack(list(batch.values())))
    return found


def columns(known: dict[tuple[str, int], torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    def residual(step: int) -> torch.Tensor:
        return known["last", step] - known["1", step]

    change = known["1", STEP] - known["1", AFTER[0]]
    regressors = [*(residual(step) for step in AFTER), change]
    stacked = torch.stack([each.flatten() for each in regressors], dim=1)
    return stacked.numpy(), residual(STEP).flatten().numpy()


def test_a_fit_is_numpys_least_squares() -> None:
    known = [features(0), features(1)]
    fit = step_fit(products(*known), STEP, AFTER, ("last", "1"), "1")
    parts = [columns(each) for each in known]
    a, y = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    # The ridge is a row a regressor that draws its weight towards a straight line.
    prior = np.append(newton_weights(AFTER, STEP, 1), 0.0)
    pull = np.diag(np.sqrt(RIDGE) * np.linalg.norm(a, axis=0))
    expected = np.linalg.lstsq(np.vstack([a, pull]), np.append(y, pull @ prior), rcond=None)[0]
    np.testing.assert_allclose([*fit.weights, fit.input], expected, rtol=1e-6, atol=1e-8)
    assert fit.error == pytest.approx(np.linalg.norm(a @ expected - y), rel=1e-6)


def test_what_is_linear_in_the_regressors_is_forecast_exactly() -> None:
    known = features()
    a, _ = columns(known)
    made = torch.from_numpy(a @ np.array([1.4, -0.3, 0.6])).reshape(3, 40)
    known["last", STEP] = made + known["1", STEP]
    fit = step_fit(products(known), STEP, AFTER, ("last", "1"), "1")
    np.testing.assert_allclose([*fit.weights, fit.input], [1.4, -0.3, 0.6], atol=1e-3)
    assert fit.error < 1e-3 * float(made.norm())


def test_a_single_computed_step_suffices() -> None:
    fit = step_fit(products(features()), STEP, (6,), ("last", "1"), "1")
    assert len(fit.weights) == 1 and np.isfinite(fit.error)
