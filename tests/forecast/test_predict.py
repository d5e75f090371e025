"""Weighted sums of snapshots."""

import re

import pytest
import torch
from torch import Tensor

from dit_accel.forecast.predict import newton_weights, weighted_sum


def random_history(dtype: torch.dtype = torch.float64) -> Tensor:
    """Draw snapshots ``[4, 3, 5, 2]``."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 3, 5, 2, dtype=torch.float64, generator=generator).to(dtype)


def test_weighted_sum_is_the_contraction() -> None:
    history = random_history()
    weights = torch.tensor([2.5, -4.0, 2.0, 0.5], dtype=torch.float64)
    expected = torch.einsum("krnc,k->rnc", history, weights)
    torch.testing.assert_close(weighted_sum(history, weights), expected, rtol=0, atol=1e-12)


def test_weighted_sum_with_weights_of_each_row() -> None:
    history = random_history()
    weights = random_history()[:, :, 0, 0]
    expected = torch.einsum("krnc,kr->rnc", history, weights)
    torch.testing.assert_close(weighted_sum(history, weights), expected, rtol=0, atol=1e-12)


def test_weighted_sum_with_weights_of_each_token() -> None:
    history = random_history()
    weights = random_history()[..., 0]
    expected = torch.einsum("krnc,krn->rnc", history, weights)
    torch.testing.assert_close(weighted_sum(history, weights), expected, rtol=0, atol=1e-12)


def test_weighted_sum_forecasts_polynomials_exactly() -> None:
    nodes, target = [13.0, 9.0, 4.0, 3.0], 17.0
    coefficients = random_history()

    def value(time: float) -> Tensor:
        return sum(
            (coefficients[power] * time**power for power in range(4)),
            start=torch.zeros(3, 5, 2, dtype=torch.float64),
        )

    history = torch.stack([value(time) for time in nodes])
    weights = torch.from_numpy(newton_weights(nodes, target, 3))
    torch.testing.assert_close(weighted_sum(history, weights), value(target), rtol=1e-9, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("per_row", [False, True])
def test_weighted_sum_rounds_once(dtype: torch.dtype, per_row: bool) -> None:
    history = (random_history() * 0.01 + 1.0).to(dtype)
    weights = torch.from_numpy(newton_weights([9, 6, 3, 0], 11, 3))
    if per_row:
        weights = weights[:, None].expand(-1, 3)
    result = weighted_sum(history, weights)
    assert result.dtype == dtype
    exact = weighted_sum(history.double(), weights)
    slack = 1e-5 if dtype == torch.float32 else torch.finfo(dtype).eps * 0.51
    assert (result.double() - exact).abs().max() <= slack


def test_weighted_sum_of_no_rows() -> None:
    history = random_history()[:, :0]
    assert weighted_sum(history, torch.ones(4, 0)).shape == (0, 5, 2)


def test_weighted_sum_refuses_other_shapes() -> None:
    for shape in ((3,), (4, 2), (4, 3, 6), (4, 3, 5, 2), ()):
        message = rf"4 snapshots of shape \(3, 5, 2\), got {re.escape(str(shape))}"
        with pytest.raises(ValueError, match=message):
            weighted_sum(random_history(), torch.ones(shape))


def test_weighted_sum_meta_device() -> None:
    history = torch.empty(4, 3, 5, 2, device="meta", dtype=torch.bfloat16)
    result = weighted_sum(history, torch.empty(4, device="meta"))
    assert result.is_meta and result.dtype == torch.bfloat16 and result.shape == (3, 5, 2)
