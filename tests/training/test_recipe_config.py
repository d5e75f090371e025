"""Recipes: typos are refused, and the shipped recipe trains what the reference has to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from dit_accel.training.config import TrainConfig, load_config

RECIPE = Path(__file__).parents[2] / "configs" / "train" / "dit_photos.yaml"


@pytest.mark.parametrize(
    "place", ["", "data", "autoencoder", "latents", "transformer", "classifier", "publish"]
)
def test_a_misspelt_key_is_refused_at_every_level(recipe, place):
    (recipe[place] if place else recipe)["stpes"] = 3
    with pytest.raises(ValueError, match="stpes"):
        TrainConfig(**recipe)


def test_a_misspelt_loop_key_is_refused(recipe):
    recipe["transformer"]["loop"] = {**recipe["transformer"]["loop"], "lr": 1e-3}
    with pytest.raises(ValueError, match="lr"):
        TrainConfig(**recipe)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("data", "crop_size", 0), ("transformer", "ema_decay", 1.0), ("publish", "dtype", "int8")],
)
def test_values_out_of_range_are_refused(recipe, section, key, value):
    recipe[section][key] = value
    with pytest.raises(ValueError, match=key):
        TrainConfig(**recipe)


def test_a_recipe_cannot_be_changed_once_read(config: TrainConfig):
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3


def test_the_shipped_recipe_describes_the_reference_model():
    config = load_config(RECIPE)
    assert config.output == Path("runs/train/dit_photos")
    assert config.data.crop_size == 128
    assert len(config.autoencoder.block_out_channels) == 3  # two halvings: f4, 32 x 32 latents
    assert config.autoencoder.latent_channels == 4
    transformer = config.transformer
    assert (transformer.num_layers, transformer.patch_size) == (10, 2)
    assert (transformer.num_attention_heads, transformer.attention_head_dim) == (3, 64)
    assert config.publish.guidance_scales == (1.5, 2.5, 4.0)
