"""Rows of one sample."""

import pytest
import torch

from dit_accel.forecast.rows import split_rows, tokens_of_samples


def test_sample_b_owns_the_rows_b_and_b_plus_batch() -> None:
    rows = torch.arange(4)
    assert split_rows(rows, 2).tolist() == [[0, 1], [2, 3]]
    tokens = torch.tensor([[0, 1], [10, 11], [20, 21], [30, 31]])
    assert tokens_of_samples(tokens, 2).tolist() == [[0, 1, 20, 21], [10, 11, 30, 31]]
    assert torch.equal(tokens_of_samples(tokens, 1), tokens)


def test_rows_must_share_out() -> None:
    with pytest.raises(ValueError, match=r"3 rows .* 2 rows a sample"):
        tokens_of_samples(torch.zeros(3, 2), 2)
