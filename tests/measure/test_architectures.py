"""Architectures by name, folder and file."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from dit_accel import UnsupportedError
from dit_accel.measure.architectures import architecture_names, load_architecture
from dit_accel.measure.inputs import forward_inputs
from dit_accel.resources import config_folder
from dit_accel.sampling.texts import text_tokens

SHIPPED = [
    "DiT-XL-2-256",
    "DiT-XL-2-512",
    "PixArt-Sigma-XL-2-1024",
    "PixArt-Sigma-XL-2-2048",
    "PixArt-XL-2-1024",
    "PixArt-XL-2-512",
]


def test_all_names_ship() -> None:
    assert architecture_names() == ["dit-photos", "pixart-photos", *SHIPPED]


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


@pytest.mark.parametrize(
    ("longest", "tokens"), [(24, 24), (512, 120), (int(1e30), 120), (None, 120)]
)
def test_text_tokens_are_no_more_than_the_tokenizer_takes(
    tiny_text_pipeline: Path, tmp_path: Path, longest: int | None, tokens: int
) -> None:
    for part in ("model_index.json", "transformer/config.json"):
        (tmp_path / part).parent.mkdir(exist_ok=True)
        shutil.copy(tiny_text_pipeline / part, tmp_path / part)
    settings = {} if longest is None else {"model_max_length": longest}
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(settings))
    assert load_architecture(tmp_path).default_text_tokens == tokens


def test_reference_architectures_pad_to_what_their_pipelines_do(reference_pipeline: Any) -> None:
    architecture = load_architecture(reference_pipeline.config._name_or_path)
    assert architecture.is_text_conditional == hasattr(reference_pipeline, "tokenizer")
    if architecture.is_text_conditional:
        assert architecture.default_text_tokens == text_tokens(reference_pipeline)


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
