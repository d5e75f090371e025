"""PixArt: any grid, guidance rows told by equal halves."""

from __future__ import annotations

import torch
from tiny_models import FAMILIES

from dit_accel.backbones import find_backbone
from dit_accel.tokens.grid import Grid


def test_the_grid_may_be_rectangular() -> None:
    transformer = FAMILIES["sigma"].transformer(num_layers=1)
    backbone = find_backbone(transformer)
    assert backbone.grid(transformer, torch.zeros(1, 4, 6, 10)) == Grid(6, 10)


def test_equal_halves_are_guidance_rows() -> None:
    transformer = FAMILIES["sigma"].transformer(num_layers=1)
    backbone = find_backbone(transformer)
    half = torch.randn(2, 4, 8, 8)
    assert backbone.is_guided(transformer, torch.cat([half, half]), {})
    assert not backbone.is_guided(transformer, torch.cat([half, half + 1]), {})
    assert not backbone.is_guided(transformer, half[:1], {})


def test_guidance_rows_of_several_images_a_prompt() -> None:
    """The negative half repeats the whole batch; rows beside each other are no pair."""
    transformer = FAMILIES["sigma"].transformer(num_layers=1)
    backbone = find_backbone(transformer)
    first, second = torch.randn(2, 1, 4, 8, 8)
    assert backbone.is_guided(transformer, torch.cat([first, second, first, second]), {})
    assert not backbone.is_guided(transformer, torch.cat([first, first, second, second]), {})


def test_odd_numbers_of_rows_are_no_guidance_rows() -> None:
    transformer = FAMILIES["sigma"].transformer(num_layers=1)
    backbone = find_backbone(transformer)
    assert not backbone.is_guided(transformer, torch.zeros(3, 4, 8, 8), {})


def test_one_seed_for_all_is_left_to_the_scheduler() -> None:
    """Equal latents without guidance look the same, so the answer is not certain."""
    transformer = FAMILIES["sigma"].transformer(num_layers=1)
    backbone = find_backbone(transformer)
    assert backbone.is_guided(transformer, torch.zeros(2, 4, 8, 8), {})
    assert not backbone.guidance_is_certain
