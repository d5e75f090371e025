"""Recipes: typos are refused, and the shipped recipe trains what the reference has to be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from dit_accel.errors import DitAccelError, PlanError
from dit_accel.training.config import ClassRecipe, TextRecipe, load_recipe
from dit_accel.training.stages import StageName, run_stage
from dit_accel.training.starting_point import starting_point

RECIPES = Path(__file__).parents[2] / "configs" / "train"


@pytest.mark.parametrize(
    "place", ["", "data", "autoencoder", "latents", "transformer", "classifier", "publish"]
)
def test_a_misspelt_key_is_refused_at_every_level(recipe, place):
    (recipe[place] if place else recipe)["stpes"] = 3
    with pytest.raises(ValueError, match="stpes"):
        ClassRecipe(**recipe)


@pytest.mark.parametrize("place", ["", "data", "text_encoder", "latents", "transformer", "publish"])
def test_a_misspelt_key_of_a_text_recipe_is_refused_at_every_level(text_recipe, place):
    (text_recipe[place] if place else text_recipe)["stpes"] = 3
    with pytest.raises(PlanError, match="stpes"):
        TextRecipe(**text_recipe)


def test_a_misspelt_loop_key_is_refused(recipe):
    recipe["transformer"]["loop"] = {**recipe["transformer"]["loop"], "lr": 1e-3}
    with pytest.raises(ValueError, match="lr"):
        ClassRecipe(**recipe)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("data", "crop_size", 0), ("transformer", "ema_decay", 1.0), ("publish", "dtype", "int8")],
)
def test_values_out_of_range_are_refused(recipe, section, key, value):
    recipe[section][key] = value
    with pytest.raises(ValueError, match=key):
        ClassRecipe(**recipe)


def test_a_recipe_cannot_be_changed_once_read(config: ClassRecipe):
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3


def test_the_shipped_recipe_describes_the_reference_model():
    config = load_recipe(RECIPES / "dit_photos.yaml")
    assert config.output == Path("runs/train/dit_photos")
    assert config.data.crop_size == 128
    assert len(config.autoencoder.block_out_channels) == 3  # two halvings: f4, 32 x 32 latents
    assert config.autoencoder.latent_channels == 4
    transformer = config.transformer
    assert (transformer.num_layers, transformer.patch_size) == (10, 2)
    assert (transformer.num_attention_heads, transformer.attention_head_dim) == (3, 64)
    assert config.publish.guidance_scales == (1.5, 2.5, 4.0)


def test_the_shipped_text_recipe_starts_from_the_shipped_dit():
    config = load_recipe(RECIPES / "pixart_photos.yaml")
    assert isinstance(config, TextRecipe)
    assert starting_point(config).name == "dit-photos"
    before = load_recipe(RECIPES / "dit_photos.yaml")
    assert config.data.crop_size == before.data.crop_size
    assert config.data.scale == before.data.scale
    assert config.publish.guidance_scales == (1.0, 2.0, 4.5)
    assert config.publish.samples_per_class == 10  # every part once
    assert config.publish.min_photograph_accuracy == 0.85
    assert config.publish.min_part_accuracy == 0.5


@pytest.mark.parametrize("key", ["start_from", "text_encoder"])
def test_a_misspelt_key_does_not_make_it_a_recipe_of_the_other_kind(text_recipe, key, tmp_path):
    text_recipe[f"{key}s"] = text_recipe.pop(key)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(text_recipe))
    with pytest.raises(PlanError, match=f"did you mean '{key}'") as caught:
        load_recipe(path)
    assert "classifier" not in str(caught.value) and "recipe.yaml" in str(caught.value)


def test_a_text_recipe_may_start_from_a_folder(text_recipe, finished):
    assert starting_point(TextRecipe(**text_recipe)) == finished.publish.folder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dit-photo", r'start_from: got "dit-photo", expected .*did you mean .dit-photos'),
        ("configs", "expected .* or the folder of a diffusers pipeline; correct the name"),
        ("pixart-photos", "expected a DiTTransformer2DModel; name a class-conditional"),
        ("dit-photos", r"transformer.num_layers: got 2, expected 10 as in .*same shape"),
    ],
)
def test_a_start_that_cannot_be_is_refused_before_anything_is_trained(text_recipe, name, message):
    config = TextRecipe(**{**text_recipe, "start_from": name})
    with pytest.raises(DitAccelError, match=message):
        run_stage(StageName.ALL, config)
    assert not config.output.exists()


def test_a_start_that_predicts_something_else_is_refused(text_recipe, finished, tmp_path):
    folder = tmp_path / "predicts_noise"
    shutil.copytree(finished.publish.folder, folder)
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(path.read_text().replace("v_prediction", "epsilon"))
    with pytest.raises(DitAccelError, match=r'got \["epsilon", 4\], .*v_prediction.*name a'):
        starting_point(TextRecipe(**{**text_recipe, "start_from": str(folder)}))


def test_a_stage_of_the_other_kind_of_recipe_is_refused(text_recipe, config):
    text_names = "text-encoder, latents, transformer, publish, all"
    for stage in (StageName.AUTOENCODER, StageName.CLASSIFIER):
        with pytest.raises(DitAccelError, match=f'got "{stage.value}", .*{text_names}'):
            run_stage(stage, TextRecipe(**text_recipe))
    with pytest.raises(DitAccelError, match="autoencoder, classifier, latents"):
        run_stage(StageName.TEXT_ENCODER, config)


@pytest.mark.parametrize(
    ("stage", "missing"),
    [
        (StageName.LATENTS, "autoencoder"),
        (StageName.TRANSFORMER, "latents"),
        (StageName.PUBLISH, "classifier"),
    ],
)
def test_a_stage_that_is_too_early_says_which_to_run_first(config, tmp_path, stage, missing):
    elsewhere = config.model_copy(update={"output": tmp_path})
    with pytest.raises(DitAccelError, match=f"missing; run the stage {missing} first"):
        run_stage(stage, elsewhere)


def test_publishing_before_the_transformer_says_so(text_recipe):
    with pytest.raises(DitAccelError, match="missing; run the stage transformer first"):
        run_stage(StageName.PUBLISH, TextRecipe(**text_recipe))
