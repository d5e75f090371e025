"""Positions of sparse tokens, against diffusers' own embedding of the full grid."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_models import FAMILIES

from dit_accel.backbones import find_backbone
from dit_accel.tokens.grid import Grid
from dit_accel.tokens.positions import sincos, window_centres


def test_centres_of_windows_that_divide_and_that_overlap() -> None:
    rows, columns = window_centres(Grid(16, 8), Grid(6, 4))
    assert rows.tolist() == [1.0, 3.5, 6.0, 9.0, 11.5, 14.0]
    assert columns.tolist() == [0.5, 2.5, 4.5, 6.5]
    rows, columns = window_centres(Grid(5, 3), Grid(5, 3))
    assert (rows.tolist(), columns.tolist()) == ([0, 1, 2, 3, 4], [0, 1, 2])


def test_columns_come_first_and_sines_before_cosines() -> None:
    got = sincos(torch.tensor([3.0]), torch.tensor([2.0]), 8)[0]
    slow = 10000.0**-0.5
    expected = [
        *(math.sin(2), math.sin(2 * slow), math.cos(2), math.cos(2 * slow)),
        *(math.sin(3), math.sin(3 * slow), math.cos(3), math.cos(3 * slow)),
    ]
    assert got.tolist() == pytest.approx(expected)
    with pytest.raises(ValueError, match="4k channels"):
        sincos(torch.zeros(1), torch.zeros(1), 6)


def test_averages_lose_what_the_fact_sheet_says() -> None:
    """A mean of w neighbours scales a frequency by sin(w ω/2) / (w sin(ω/2))."""
    lines = sincos(torch.zeros(1), torch.arange(8.0), 4)[:, 0].reshape(4, 2).mean(1)
    centres = sincos(torch.zeros(1), window_centres(Grid(1, 8), Grid(1, 4))[1], 4)[:, 0]
    assert (lines / centres).tolist() == pytest.approx([0.8776] * 4, abs=1e-4)


@pytest.mark.parametrize("name", ["dit", "alpha", "sigma"])
@pytest.mark.parametrize("size", [(8, 8), (4, 12)])
def test_the_full_grid_has_the_models_own_embedding(name: str, size: tuple[int, int]) -> None:
    if name == "dit" and size != (8, 8):
        pytest.skip("square models only")
    transformer = FAMILIES[name].transformer()
    patches, grid = transformer.pos_embed, Grid(*size)
    with torch.no_grad():
        patches.proj.weight.zero_(), patches.proj.bias.zero_()
        expected = patches(torch.zeros(1, 4, *size))[0]
    centres = window_centres(grid, grid)
    got = find_backbone(transformer).position_embedding(transformer, *centres, grid)
    torch.testing.assert_close(got.float(), expected, rtol=1e-5, atol=1e-5)
