"""DiT: a square grid, guidance rows told by the null label."""

from __future__ import annotations

import pytest
import torch
from diffusers import DiTTransformer2DModel

from dit_accel.backbones import find_backbone
from dit_accel.errors import UnsupportedError
from dit_accel.tokens.grid import Grid


@pytest.fixture
def transformer() -> DiTTransformer2DModel:
    return DiTTransformer2DModel(
        num_attention_heads=1, attention_head_dim=4, num_layers=1, sample_size=8, patch_size=2
    )


def test_the_grid_counts_patches(transformer: DiTTransformer2DModel) -> None:
    backbone = find_backbone(transformer)
    assert backbone.grid(transformer, torch.zeros(2, 4, 8, 8)) == Grid(4, 4)


def test_rectangles_are_refused(transformer: DiTTransformer2DModel) -> None:
    with pytest.raises(UnsupportedError, match=r"4x8 tokens.*height == width.*PixArt"):
        find_backbone(transformer).grid(transformer, torch.zeros(2, 4, 8, 16))


@pytest.mark.parametrize(
    ("second", "labels", "guided"),
    [
        ("same", [1, 2, 1000, 1000], True),
        ("same", [1, 2, 3, 4], False),
        ("same", [1000, 1000, 1, 2], False),
        ("other", [1, 2, 1000, 1000], False),
    ],
)
def test_guidance_is_told_by_latents_and_null_labels(
    transformer: DiTTransformer2DModel, second: str, labels: list[int], guided: bool
) -> None:
    half = torch.randn(2, 4, 8, 8)
    rows = torch.cat([half, half if second == "same" else half + 1])
    arguments = {"class_labels": torch.tensor(labels)}
    assert find_backbone(transformer).is_guided(transformer, rows, arguments) is guided


def test_an_odd_number_of_rows_is_not_guided(transformer: DiTTransformer2DModel) -> None:
    arguments = {"class_labels": torch.tensor([1000])}
    rows = torch.zeros(1, 4, 8, 8)
    assert not find_backbone(transformer).is_guided(transformer, rows, arguments)
