"""Rescaling a change of the input to one of the output."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dit_accel.forecast.decisions.input_change import fit_power_law, polynomial_change

FLUX = [498.651651, -283.781631, 55.8554382, -3.82021401, 0.264230861]


def test_published_polynomial_of_flux() -> None:
    """Neither monotone nor zero at zero."""
    change = torch.tensor([0.0, 0.05, 0.1, 0.2, 0.3], dtype=torch.float64)
    expected = torch.tensor([0.264, 0.181, 0.207, 0.262, 0.522], dtype=torch.float64)
    torch.testing.assert_close(polynomial_change(change, FLUX), expected, rtol=0, atol=6e-4)


@settings(deadline=None)
@given(st.floats(0.1, 10), st.floats(0, 3))
def test_a_power_law_is_recovered(factor: float, exponent: float) -> None:
    changes = np.array([0.01, 0.02, 0.05, 0.3])
    law = fit_power_law(changes, factor * changes**exponent)
    assert law == pytest.approx((factor, exponent), abs=1e-9)
    found = law(torch.from_numpy(changes))
    np.testing.assert_allclose(found.numpy(), factor * changes**exponent, rtol=1e-9)


def test_a_falling_relation_is_fitted_by_a_constant() -> None:
    law = fit_power_law([0.1, 0.2, 0.4], [0.4, 0.2, 0.1])
    assert law == pytest.approx((0.2, 0.0))


def test_one_input_is_taken_to_be_proportional() -> None:
    assert fit_power_law([0.1], [0.3]) == pytest.approx((3.0, 1.0))


@pytest.mark.parametrize("pairs", [([], []), ([0.0], [1.0]), ([1.0], [-1.0]), ([1.0], [np.inf])])
def test_changes_must_be_positive(pairs: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError, match="positive, finite"):
        fit_power_law(*pairs)
