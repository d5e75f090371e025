"""Architectures by name, folder and file."""

import json
from pathlib import Path

import pytest
import torch

from dit_accel import UnsupportedError
from dit_accel.measure.architectures import architecture_names, load_architecture
from dit_accel.measure.inputs import forward_inputs
from dit_accel.resources import config_folder

SHIPPED = [
    "DiT-XL-2-256",
    "DiT-XL-2-512",
    "PixArt-Sigma-XL-2-1024",
    "PixArt-Sigma-XL-2-2048",
    "PixArt-XL-2-1024",
    "PixArt-XL-2-512",
]


def test_all_names_ship() -> None:
    assert architecture_names() == ["dit-photos", *SHIPPED]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_config_builds_and_runs_on_meta(name: str) -> None:
    architecture = load_architecture(name)
    transformer = architecture.build()
    inputs = forward_inputs(transformer, 2, text_tokens=architecture.default_text_tokens)
    with torch.no_grad():
        output = transformer(**inputs).sample
    assert output.shape == (2, 8, architecture.sample_size, architecture.sample_size)
    # The papers' 675 M and 611 M; diffusers' own embedders in every DiT block add 75 M.
    parameters = sum(parameter.numel() for parameter in transformer.parameters()) / 1e6
    assert parameters == pytest.approx(750 if name.startswith("DiT") else 611, rel=0.01)


@pytest.mark.parametrize("name", SHIPPED)
def test_configs_spell_out_every_argument(name: str) -> None:
    """A later default of diffusers must not change a published architecture."""
    written = json.loads((config_folder("models") / f"{name}.json").read_text())
    built = load_architecture(name).build().config
    assert {key for key in built if not key.startswith("_")} <= set(written)


def test_pipeline_folder(tiny_pipeline: Path) -> None:
    architecture = load_architecture(tiny_pipeline)
    assert (architecture.num_classes, architecture.pixels_per_cell) == (3, 4)
    assert architecture.latent_size(None, None) == (8, 8)
    assert load_architecture(tiny_pipeline / "transformer" / "config.json").num_classes == 3


def test_text_tokens_follow_the_family() -> None:
    assert load_architecture("PixArt-XL-2-1024").default_text_tokens == 120
    assert load_architecture("PixArt-Sigma-XL-2-1024").default_text_tokens == 300


def test_unknown_name_lists_and_suggests() -> None:
    with pytest.raises(UnsupportedError, match="did you mean 'DiT-XL-2-256'"):
        load_architecture("dit-xl-2-255")


def test_unsupported_class_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"_class_name": "UNet2DModel"}))
    with pytest.raises(UnsupportedError, match="UNet2DModel"):
        load_architecture(path)


def test_size_that_does_not_divide_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"height.*use 304"):
        load_architecture("DiT-XL-2-256").latent_size(300, 300)
