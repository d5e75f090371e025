"""Sums of change, each sample's its own; TeaCache's and EasyCache's traces."""

from itertools import pairwise

import pytest
import torch

from dit_accel.forecast.decisions.accumulated_change import accumulate
from dit_accel.forecast.decisions.easy import change_rate, expected_change, mean_magnitude
from dit_accel.forecast.drift import relative_l1_change


def test_trace_of_teacache() -> None:
    """m = 1, 1.1, 1.15, 1.30 at threshold 0.15: sums 0.1, 0.1455, 0.276, then computed."""
    values = torch.tensor([1.0, 1.1, 1.15, 1.30]).reshape(4, 1, 1, 1)
    total, sums, needs = torch.zeros(1), [], []
    for previous, current in pairwise(values):
        change = relative_l1_change(current, previous)
        sums.append((total + change).item())
        need, total = accumulate(total, change, 0.15)
        needs.append(need.item())
    assert sums == pytest.approx([0.1, 0.1455, 0.2759], abs=1e-4)
    assert needs == [False, False, True] and total.item() == 0.0


def test_samples_do_not_share_a_sum() -> None:
    total, change = torch.tensor([0.1, 0.0, 0.2]), torch.tensor([0.1, 0.1, 9.0])
    need, rest = accumulate(total, change, 0.15)
    assert need.tolist() == [True, False, True]
    torch.testing.assert_close(rest, torch.tensor([0.0, 0.1, 0.0]))
    alone = accumulate(total[1:2], change[1:2], 0.15)
    assert torch.equal(alone.need, need[1:2]) and torch.equal(alone.total, rest[1:2])


def test_threshold_of_each_sample() -> None:
    need, _ = accumulate(torch.zeros(2), torch.ones(2), torch.tensor([0.5, 2.0]))
    assert need.tolist() == [True, False]


def test_threshold_zero_and_nan_compute() -> None:
    assert accumulate(torch.zeros(1), torch.zeros(1), 0.0).need.item()
    need, total = accumulate(torch.zeros(1), torch.tensor([torch.nan]), 1.0)
    assert need.item() and total.item() == 0.0


def test_easycache() -> None:
    """x from 0 to 1 and y from 0 to 2 give k = 2; then dx = 0.1 at |y| = 2 is a change of 0.1."""
    rate = change_rate(torch.tensor([2.0]), torch.tensor([1.0]))
    assert rate.item() == 2.0
    change = expected_change(rate, torch.tensor([0.1]), torch.tensor([2.0]))
    assert change.item() == pytest.approx(0.1)


def test_easycache_without_any_change() -> None:
    rate = change_rate(torch.tensor([0.0, 1.0]), torch.zeros(2))
    assert rate.tolist() == [0.0, torch.inf]
    change = expected_change(rate, torch.tensor([0.1, 0.1]), torch.tensor([2.0, 2.0]))
    assert accumulate(torch.zeros(2), change, 0.05).need.tolist() == [False, True]


def test_mean_magnitude_of_each_row() -> None:
    tensor = torch.tensor([[[1.0, -3.0]], [[0.5, 0.5]]]).half()
    assert mean_magnitude(tensor).tolist() == [2.0, 0.5]
    assert mean_magnitude(tensor).dtype == torch.float32
