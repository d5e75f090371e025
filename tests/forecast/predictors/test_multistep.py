"""Predictions of the data, and their sums over two bands."""

from __future__ import annotations

import math

import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st

from dit_accel.forecast.predictors.multistep import (
    data_prediction,
    low_frequencies,
    mixed_bands,
    weighted,
)


@given(
    kind=st.sampled_from(["epsilon", "v_prediction", "sample"]),
    alpha_bar=st.floats(1e-4, 1.0 - 1e-4),
    data=st.floats(-3, 3),
    noise=st.floats(-3, 3),
)
def test_the_data_come_back(kind: str, alpha_bar: float, data: float, noise: float) -> None:
    alpha, sigma = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
    latents = alpha * data + sigma * noise
    output = {"epsilon": noise, "v_prediction": alpha * noise - sigma * data, "sample": data}[kind]
    p, q = data_prediction(kind, alpha_bar)
    assert p * latents + q * output == pytest.approx(data, abs=1e-9 / alpha)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("alpha_bar", [0.0, 1.0])
def test_the_ends_of_a_schedule_are_finite(kind: str, alpha_bar: float) -> None:
    p, q = data_prediction(kind, alpha_bar)
    assert math.isfinite(p) and math.isfinite(q) and q != 0


def test_other_predictions_are_refused() -> None:
    with pytest.raises(ValueError, match="flow_prediction"):
        data_prediction("flow_prediction", 0.5)


def test_low_frequencies_are_those_of_scipy() -> None:
    latents = torch.randn(2, 3, 8, 12, dtype=torch.float64)
    spectrum = scipy.fft.dctn(latents.numpy(), axes=(2, 3), norm="ortho")
    spectrum[:, :, 2:], spectrum[:, :, :, 3:] = 0, 0
    expected = scipy.fft.idctn(spectrum, axes=(2, 3), norm="ortho")
    torch.testing.assert_close(low_frequencies(latents, 0.25), torch.from_numpy(expected))


def test_bands_are_mixed_and_together_are_the_whole() -> None:
    low, high = torch.randn(2, 1, 3, 8, 8, dtype=torch.float64)
    rest = high - low_frequencies(high, 0.25)
    torch.testing.assert_close(mixed_bands(low, high, 0.25), low_frequencies(low, 0.25) + rest)
    torch.testing.assert_close(mixed_bands(high, high, 0.25), high)


def test_sums() -> None:
    terms = torch.randn(3, 2, 4, dtype=torch.float64)
    expected = 0.5 * terms[0] - 2 * terms[1] + terms[2]
    torch.testing.assert_close(weighted(list(terms), (0.5, -2.0, 1.0)), expected)
