"""Finding the backbone of a transformer."""

from __future__ import annotations

import pytest
from diffusers import DiTTransformer2DModel
from tiny_models import TinyFamily, every_family
from torch import nn

from dit_accel.backbones import find_backbone
from dit_accel.errors import UnsupportedError


@every_family
def test_every_family_is_found(family: TinyFamily) -> None:
    transformer = family.transformer()
    assert isinstance(transformer, find_backbone(transformer).model_class)


def test_subclasses_are_accepted() -> None:
    class Mine(DiTTransformer2DModel):
        pass

    mine = Mine(num_attention_heads=1, attention_head_dim=4, num_layers=1, sample_size=4)
    assert find_backbone(mine).model_class is DiTTransformer2DModel


def test_another_class_is_refused_with_what_is_supported() -> None:
    with pytest.raises(UnsupportedError, match=r"Linear .*DiTTransformer2DModel, PixArtTransf"):
        find_backbone(nn.Linear(1, 1))


@every_family
def test_sites_are_the_modules_that_run(family: TinyFamily) -> None:
    transformer = family.transformer()
    backbone = find_backbone(transformer)
    blocks = backbone.blocks(transformer)
    assert blocks == list(transformer.transformer_blocks)
    for block in blocks:
        assert backbone.self_attention(block) is block.attn1
        assert backbone.feed_forward(block) is block.ff


@every_family
def test_row_arguments_are_arguments_of_a_block(family: TinyFamily) -> None:
    import inspect

    transformer = family.transformer()
    backbone = find_backbone(transformer)
    accepted = inspect.signature(type(backbone.blocks(transformer)[0]).forward).parameters
    assert set(backbone.row_arguments) <= set(accepted)
