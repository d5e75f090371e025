"""The split of a token map by spatial frequency."""

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dit_accel.forecast.predict import newton_weights, weighted_sum
from dit_accel.forecast.predictors.frequency import low_cosines, low_pass, mix_bands
from dit_accel.tokens.grid import Grid

GRID = Grid(6, 10)


def random_map(grid: Grid = GRID, rows: int = 2) -> Tensor:
    """Draw ``[rows, N, 3]`` in float64."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, grid.size, 3, generator=generator, dtype=torch.float64)


def low_pass_by_fft(tokens: Tensor, grid: Grid, cutoff: float) -> np.ndarray:
    """The same through SciPy's transform and a mask."""
    image = tokens.numpy().reshape(-1, *grid, tokens.shape[2])
    spectrum = scipy.fft.dctn(image, axes=(1, 2), norm="ortho")
    rows, columns = (max(round(cutoff * side), 1 if cutoff else 0) for side in grid)
    spectrum[:, rows:] = 0
    spectrum[:, :, columns:] = 0
    return scipy.fft.idctn(spectrum, axes=(1, 2), norm="ortho").reshape(tokens.shape)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.floats(0, 1))
def test_transform_is_that_of_scipy(height: int, width: int, cutoff: float) -> None:
    grid = Grid(height, width)
    tokens = random_map(grid)
    expected = low_pass_by_fft(tokens, grid, cutoff)
    np.testing.assert_allclose(low_pass(tokens, grid, cutoff), expected, atol=1e-12)


def test_cosines_are_orthonormal() -> None:
    cosines = low_cosines(16, 1.0, torch.device("cpu"), torch.float64)
    torch.testing.assert_close(cosines @ cosines.T, torch.eye(16, dtype=torch.float64))


def test_low_pass_is_a_projection_that_keeps_constants() -> None:
    once = low_pass(random_map(), GRID, 0.4)
    torch.testing.assert_close(low_pass(once, GRID, 0.4), once)
    constant = torch.ones(1, GRID.size, 1)
    torch.testing.assert_close(low_pass(constant, GRID, 0.01), constant)


def test_one_transform_does_the_work_of_many() -> None:
    """LP(y_0) + HP(sum w_j y_j), with the bands of every snapshot taken apart."""
    history = [random_map() * scale + scale for scale in (1.0, 2.0, -0.5)]
    weights = torch.from_numpy(newton_weights([6, 3, 0], 8, 2))
    high = sum(
        (w * (y - low_pass(y, GRID, 0.3)) for w, y in zip(weights, history, strict=True)),
        start=torch.zeros_like(history[0]),
    )
    expected = low_pass(history[0], GRID, 0.3) + high
    found = mix_bands(history[0], weighted_sum(history, weights), GRID, 0.3)
    torch.testing.assert_close(found, expected)


def test_ends_of_the_cutoff() -> None:
    low, high = random_map(), random_map() + 1
    assert torch.equal(mix_bands(low, high, GRID, 0.0), high)
    torch.testing.assert_close(mix_bands(low, high, GRID, 1.0), low)


def test_half_precision_is_mixed_in_float32() -> None:
    low, high = random_map().bfloat16(), (random_map() + 1).bfloat16()
    mixed = mix_bands(low, high, GRID, 0.3)
    assert mixed.dtype == torch.bfloat16
    assert torch.equal(mixed, mix_bands(low.float(), high.float(), GRID, 0.3).bfloat16())


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="60 tokens for a 4x4 grid"):
        low_pass(random_map(), Grid(4, 4), 0.5)
    with pytest.raises(ValueError, match=r"cutoff must be from 0 to 1, got 1\.5"):
        low_pass(random_map(), GRID, 1.5)
    with pytest.raises(ValueError, match="one shape"):
        mix_bands(random_map(), random_map(rows=1), GRID, 0.5)
