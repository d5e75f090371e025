"""The losses against their formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dit_accel.adaptation.objective import feature_error, min_snr_weights, output_error

BETAS = np.linspace(1e-4, 0.02, 1000)
ALPHAS = np.cumprod(1 - BETAS)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_weights_are_the_formula(kind, gamma):
    snr = ALPHAS / (1 - ALPHAS)
    divisor = {"epsilon": snr, "v_prediction": snr + 1, "sample": 1}[kind]
    expected = np.minimum(snr, gamma) / divisor
    found = min_snr_weights(torch.tensor(ALPHAS), torch.arange(1000), kind, gamma)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_pure_noise_has_a_finite_weight():
    alphas = torch.tensor([0.5, 0.0])
    found = min_snr_weights(alphas, torch.tensor([1]), "epsilon", 5.0)
    assert found.tolist() == [1.0]


def test_the_weights_of_all_predictions_are_one_loss():
    """The same error of the clean latents costs the same, whatever the model predicts."""
    steps = torch.tensor([0, 200, 500, 999])
    alphas = torch.tensor(ALPHAS)[steps]
    # x0 = (x - s eps) / a, and x0 = a x - s v: an error e of x0 is e a / s of eps, e / s of v.
    errors = {
        "sample": torch.ones(4, dtype=torch.float64),
        "epsilon": (alphas / (1 - alphas)),
        "v_prediction": 1 / (1 - alphas),
    }
    costs = [
        min_snr_weights(torch.tensor(ALPHAS), steps, kind, 5.0) * error
        for kind, error in errors.items()
    ]
    torch.testing.assert_close(costs[1], costs[0], rtol=1e-5, atol=0)
    torch.testing.assert_close(costs[2], costs[0], rtol=1e-5, atol=0)


@given(st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_output_error_is_a_mean_a_sample(batch, channels, has_variance):
    generator = torch.Generator().manual_seed(batch * 7 + channels)
    width = channels * 2 if has_variance else channels
    found, wanted = torch.randn(2, batch, width, 3, 2, generator=generator)
    difference = (found.double() - wanted.double()).square().numpy()
    expected = difference[:, :channels].mean((1, 2, 3))
    if has_variance:
        expected = expected + 0.05 * difference[:, channels:].mean((1, 2, 3))
    np.testing.assert_allclose(output_error(found, wanted, channels), expected, rtol=1e-5)
    alone = output_error(found, wanted[:, :channels], channels)
    np.testing.assert_allclose(alone, difference[:, :channels].mean((1, 2, 3)), rtol=1e-5)


def test_features_count_alike_however_large_their_numbers_are():
    generator = torch.Generator().manual_seed(0)
    wanted = {layer: torch.randn(2, 5, 3, generator=generator) for layer in range(3)}
    found = {layer: tokens + 0.1 * tokens.std() for layer, tokens in wanted.items()}
    error = feature_error(found, wanted)
    larger = feature_error(
        {k: 100 * v for k, v in found.items()}, {k: 100 * v for k, v in wanted.items()}
    )
    torch.testing.assert_close(larger, error)
    double = wanted[0].double().flatten(0, 1)
    difference = (found[0].double() - wanted[0].double()).flatten(0, 1) / double.std(
        0, correction=0
    )
    one = feature_error({0: found[0]}, wanted)
    np.testing.assert_allclose(float(one), float(difference.square().mean()), rtol=1e-5)


def test_a_channel_that_hardly_varies_counts_no_more_than_others():
    wanted = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    wanted[..., 0] = 3.0
    found = wanted + 1e-3
    assert feature_error({0: found}, {0: wanted}) < 0.1


def test_layers_on_another_grid_are_left_out():
    wanted = {0: torch.randn(2, 4, 3), 1: torch.randn(2, 4, 3)}
    found = {0: wanted[0] + 1, 1: torch.randn(2, 1, 3)}
    torch.testing.assert_close(feature_error(found, wanted), feature_error({0: found[0]}, wanted))
    assert feature_error({1: found[1]}, wanted) == 0
