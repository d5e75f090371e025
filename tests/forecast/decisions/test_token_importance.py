"""Scores and choice of tokens."""

import pytest
import torch
from torch import Tensor

from dit_accel.forecast.decisions.token_importance import (
    attention_received,
    renewed_age,
    scores_of_samples,
    select_tokens,
    token_share,
    value_norms,
    with_local_bonus,
    with_staleness,
)
from dit_accel.tokens.grid import Grid


def random_scores(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_attention_received_is_the_column_sum() -> None:
    attention = torch.tensor([[[0.1, 0.9], [0.5, 0.5]]])
    expected = torch.tensor([[0.6, 1.4]])
    torch.testing.assert_close(attention_received(attention), expected / expected.norm())


def test_value_norms_need_no_attention_map() -> None:
    values = torch.tensor([[[3.0, 4.0], [0.0, 12.0]], [[1.0, 0.0], [0.0, 0.0]]])
    expected = torch.tensor([[5 / 13, 12 / 13], [1.0, 0.0]])
    torch.testing.assert_close(value_norms(values), expected)


def test_staleness() -> None:
    scores, age = torch.tensor([[0.2, 0.2]]), torch.tensor([[0, 3]])
    torch.testing.assert_close(with_staleness(scores, age, 3), torch.tensor([[0.2, 0.45]]))


def test_best_of_each_cell_gains() -> None:
    scores = torch.tensor([[1.0, 2.0, 5.0, 5.0, 3.0, 4.0, 1.0, 0.0]])
    expected = torch.tensor([[1.0, 2.0, 8.0, 5.0, 3.0, 6.4, 1.0, 0.0]])
    torch.testing.assert_close(with_local_bonus(scores, Grid(2, 4)), expected)


@pytest.mark.parametrize("grid", [Grid(4, 6), Grid(3, 5), Grid(1, 1), Grid(2, 3)])
def test_bonus_on_grids_of_any_size(grid: Grid) -> None:
    scores = random_scores(2, grid.size)
    expected = scores.reshape(2, *grid).clone()
    for row in range(2):
        for top in range(0, grid.height, 2):
            for left in range(0, grid.width, 2):
                cell = expected[row, top : top + 2, left : left + 2]
                cell[cell == cell.max()] *= 1.6
    found = with_local_bonus(scores, grid)
    torch.testing.assert_close(found, expected.reshape(2, -1))


def test_bonus_wants_the_scores_of_the_grid() -> None:
    with pytest.raises(ValueError, match="5 scores for a 2x2 grid"):
        with_local_bonus(random_scores(1, 5), Grid(2, 2))


def test_rows_of_a_sample_are_averaged() -> None:
    scores = random_scores(4, 7)
    expected = torch.stack([scores[[0, 2]].mean(0), scores[[1, 3]].mean(0)])
    torch.testing.assert_close(scores_of_samples(scores, 2), expected)
    with pytest.raises(ValueError, match="3 rows"):
        scores_of_samples(scores[:3], 2)


def test_the_highest_are_selected_and_the_first_of_equals() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.9], [0.3, 0.3, 0.3, 0.3]])
    assert select_tokens(scores, 3).tolist() == [[1, 3, 2], [0, 1, 2]]
    assert select_tokens(scores, 0).shape == (2, 0)
    assert torch.equal(select_tokens(scores, 2)[:1], select_tokens(scores[:1], 2))


def test_age_starts_anew_where_computed() -> None:
    age = torch.tensor([[2, 0, 5], [1, 1, 1]])
    assert renewed_age(age, torch.tensor([[2], [0]])).tolist() == [[3, 1, 0], [0, 2, 2]]


def test_share_of_the_tokens() -> None:
    """The schedules of the release for 50 DDIM and for 250 DDPM steps."""
    assert token_share(0.07, 1.0, 0.0) == 0.0  # 1 + 2 - 4 = -1 at the very start
    assert token_share(0.07, 0.5, 0.5) == pytest.approx(0.07 * 2.5)
    assert token_share(0.07, 0.0, 1.0) == pytest.approx(0.07 * 3.0 * 1.2 * 2.5)
    assert token_share(0.07, 0.0, 0.0, 0.4, 0.8) == pytest.approx(0.07 * 1.4 * 1.8 * 2.5)
    assert token_share(0.7, 0.0, 1.0) == 1.0
