"""Forecasts that may not be used."""

import pytest
import torch

from dit_accel.forecast.decisions.guard import first_range, plausible, row_norms, widened


def rows_of_norm(*norms: float) -> torch.Tensor:
    """One row ``[2, 2]`` of each norm."""
    return torch.tensor(norms)[:, None, None].expand(-1, 2, 2) / 2


def test_norms_of_rows() -> None:
    assert row_norms(rows_of_norm(3.0, 5.0)).tolist() == [3.0, 5.0]
    assert row_norms(rows_of_norm(3.0).bfloat16()).dtype == torch.float32
    assert row_norms(rows_of_norm(3.0).double()).dtype == torch.float64


def test_range_grows_with_what_is_computed() -> None:
    seen = first_range(torch.tensor([2.0, 2.0, 2.0]))
    seen = widened(seen, torch.tensor([1.0, 3.0, 9.0]), torch.tensor([True, True, False]))
    assert seen.low.tolist() == [1.0, 2.0, 2.0] and seen.high.tolist() == [2.0, 3.0, 2.0]


def test_forecasts_leave_the_range_by_a_factor() -> None:
    seen = widened(first_range(torch.full((6,), 2.0)), torch.full((6,), 4.0), torch.ones(6) > 0)
    forecast = rows_of_norm(3.0, 1.0, 8.0, 0.9, 8.1, 3.0)
    assert plausible(row_norms(forecast), seen, 2.0).tolist() == [True] * 3 + [False] * 2 + [True]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_refused_and_only_that_row(value: float) -> None:
    forecast = rows_of_norm(2.0, 2.0).clone()
    forecast[0, 1, 1] = value
    seen = first_range(torch.tensor([2.0, 2.0]))
    assert plausible(row_norms(forecast), seen, 100.0).tolist() == [False, True]


def test_factor_must_not_narrow_the_range() -> None:
    with pytest.raises(ValueError, match=r"at least 1, got 0\.5"):
        plausible(torch.ones(1), first_range(torch.ones(1)), 0.5)
