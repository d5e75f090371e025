"""SpeCa's threshold and verdict."""

import pytest
import torch

from dit_accel.forecast.decisions.verify import accepted, verification_threshold


def test_thresholds() -> None:
    found = [verification_threshold(progress) for progress in (0.0, 0.5, 1.0)]
    assert found == pytest.approx([0.3, 0.0671, 0.015], abs=1e-4)
    assert verification_threshold(1.0, base=0.1) == 0.01


def test_verdicts() -> None:
    """By error; the first three whatever their error; none after the eighth; never a NaN."""
    error = torch.tensor([0.05, 0.15, 0.15, 0.15, 0.05, torch.nan, torch.inf])
    in_a_row = torch.tensor([4, 4, 2, 3, 8, 0, 0])
    expected = [True, False, True, False, False, False, False]
    assert accepted(error, in_a_row, 0.1).tolist() == expected


def test_verdict_without_a_minimum() -> None:
    error = torch.tensor([0.1, 0.2])
    assert accepted(error, torch.zeros(2), 0.1, minimum=0, maximum=1).tolist() == [True, False]
