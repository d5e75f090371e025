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
