"""Relative change of each row, and the verdict of each sample."""

import pytest
import torch
from torch import Tensor

from dit_accel.forecast.drift import per_sample, relative_l1_change


def random_tokens(rows: int = 4) -> Tensor:
    """Draw ``[rows, 6, 3]``."""
    return torch.randn(rows, 6, 3, generator=torch.Generator().manual_seed(0))


def test_worked_example() -> None:
    reference = torch.tensor([[[1.0, -3.0]], [[2.0, 2.0]]])
    current = torch.tensor([[[1.5, -3.5]], [[2.0, -2.0]]])
    assert relative_l1_change(current, reference).tolist() == [0.25, 1.0]


def test_trace_of_first_block_caching() -> None:
    """Reference 1.00 up to the fourth value, then the value computed there."""
    values = torch.tensor([1.05, 1.09, 1.12, 1.20]).reshape(4, 1, 1)
    reference = torch.tensor([1.0, 1.0, 1.0, 1.12]).reshape(4, 1, 1)
    change = relative_l1_change(values, reference)
    torch.testing.assert_close(change, torch.tensor([0.05, 0.09, 0.12, 0.08 / 1.12]))
    assert (change > 0.1).tolist() == [False, False, True, False]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_result_is_float32_of_a_wide_computation(dtype: torch.dtype) -> None:
    reference = (1.0 + 0.01 * random_tokens()).to(dtype)
    current = (1.0 + 0.011 * random_tokens()).to(dtype)
    change = relative_l1_change(current, reference)
    wide = (current.double() - reference.double()).abs().mean((1, 2))
    expected = wide / reference.double().abs().mean((1, 2))
    assert change.dtype == torch.float32
    torch.testing.assert_close(change, expected.float(), rtol=1e-5, atol=0)


def test_degenerate_rows_are_never_nan() -> None:
    reference, current = torch.ones(6, 2, 2), torch.ones(6, 2, 2)
    reference[0], current[0] = 0.0, 0.0
    reference[1], current[1] = 0.0, 1e-30
    current[2, 0, 0] = torch.nan
    reference[3, 0, 0] = torch.inf
    current[4, 0, 0] = torch.inf
    expected = [0.0, torch.inf, torch.inf, torch.inf, torch.inf, 0.0]
    assert relative_l1_change(current, reference).tolist() == expected


def test_rows_do_not_depend_on_each_other() -> None:
    reference, current = random_tokens(), random_tokens() + 0.1
    before = relative_l1_change(current, reference)
    current[3] *= 1e6
    assert torch.equal(relative_l1_change(current, reference)[:3], before[:3])
    assert torch.equal(relative_l1_change(current[1:2], reference[1:2]), before[1:2])


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(4, 6, 3\) and \(1, 6, 3\)"):
        relative_l1_change(random_tokens(4), random_tokens(1))


def test_samples_take_the_larger_change_of_their_rows() -> None:
    change = torch.tensor([0.1, 0.5, 0.3, 0.2, 0.4, 0.6])
    assert per_sample(change, 2).tolist() == pytest.approx([0.2, 0.5, 0.6])
    assert torch.equal(per_sample(change, 1), change)
    assert per_sample(torch.tensor([torch.inf, 0.0]), 2).tolist() == [torch.inf]


@pytest.mark.parametrize("rows_per_sample", [0, 2])
def test_rows_must_share_out(rows_per_sample: int) -> None:
    with pytest.raises(ValueError, match=f"3 rows .* {rows_per_sample} rows a sample"):
        per_sample(torch.zeros(3), rows_per_sample)


def test_meta_device() -> None:
    tokens = torch.empty(4, 6, 3, device="meta")
    assert per_sample(relative_l1_change(tokens, tokens), 2).shape == (2,)
