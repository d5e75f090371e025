"""Transformer architectures by name, so that any model size can be counted without weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DiTTransformer2DModel, PixArtTransformer2DModel

from dit_accel.errors import UnsupportedError, mismatch, nearest
from dit_accel.reference_models import available, folder_of
from dit_accel.resources import config_folder

_CLASSES: dict[str, Any] = {
    "DiTTransformer2DModel": DiTTransformer2DModel,
    "PixArtTransformer2DModel": PixArtTransformer2DModel,
    # What diffusers wrote before it split the class by family; kept in published configs.
    "Transformer2DModel": PixArtTransformer2DModel,
}


@dataclass(frozen=True)
class Architecture:
    """A transformer class with the config that builds it; no weights.

    Attributes:
        name: what it was asked for as.
        transformer_class: the diffusers class.
        config: its arguments, as published.
        pixels_per_cell: image pixels a side of one latent cell (the autoencoder's factor).
        default_text_tokens: what every prompt is padded to: 120 for α, 300 for Σ, or as many as
            the tokenizer beside the transformer takes, if those are fewer.
    """

    name: str
    transformer_class: Any
    config: Mapping[str, Any]
    pixels_per_cell: int = 8
    default_text_tokens: int = 120

    @property
    def is_text_conditional(self) -> bool:
        """Whether the forward takes text tokens rather than a class label."""
        return bool(issubclass(self.transformer_class, PixArtTransformer2DModel))

    @property
    def num_classes(self) -> int:
        """Classes that the model was trained on, the null class left out; 0 if it reads text."""
        return 0 if self.is_text_conditional else int(self.config["num_embeds_ada_norm"])

    @property
    def sample_size(self) -> int:
        """Native side of the latent, in latent cells."""
        return int(self.config["sample_size"])

    def latent_size(self, height: int | None, width: int | None) -> tuple[int, int]:
        """Latent cells of an image of ``height`` × ``width`` pixels; the native size by default.

        Raises:
            UnsupportedError: a side that does not divide into patches.
        """
        native = self.sample_size * self.pixels_per_cell
        sides = (height or width or native, width or height or native)
        unit = self.pixels_per_cell * int(self.config["patch_size"])
        for name, side in zip(("height", "width"), sides, strict=True):
            if side % unit:
                remedy = f"use {max(1, round(side / unit)) * unit}"
                expected = f"a multiple of {unit} pixels (one token)"
                raise UnsupportedError(f"{name}: " + mismatch(side, expected, remedy))
        return sides[0] // self.pixels_per_cell, sides[1] // self.pixels_per_cell

    def build(self, device: str | torch.device = "meta") -> Any:
        """Build the transformer: shapes only on ``meta``, random weights elsewhere."""
        settings = {key: value for key, value in self.config.items() if not key.startswith("_")}
        with torch.device(device):
            model = self.transformer_class.from_config(settings)
        return model.eval()


def architecture_names() -> list[str]:
    """Every name that ``load_architecture`` knows without a path."""
    shipped = sorted(path.stem for path in config_folder("models").glob("*.json"))
    return [*available(), *shipped]


def load_architecture(source: str | Path) -> Architecture:
    """Read the architecture that a name, a pipeline folder or a config file describes.

    Raises:
        UnsupportedError: neither a known name nor a config, or a transformer class that has no
            backbone here.
    """
    path = _config_path(str(source))
    config = json.loads(path.read_text())
    class_name = config.get("_class_name")
    if class_name not in _CLASSES or config.get("norm_type") not in (
        "ada_norm_zero",
        "ada_norm_single",
    ):
        expected = "DiTTransformer2DModel or PixArtTransformer2DModel"
        raise UnsupportedError(
            f"model: {path}: " + mismatch(class_name, expected, "use such a one")
        )
    return Architecture(
        name=str(source),
        transformer_class=_CLASSES[class_name],
        config=config,
        pixels_per_cell=_pixels_per_cell(path),
        default_text_tokens=_text_tokens(path),
    )


def _family(config_path: Path) -> str:
    """Class of the pipeline that a transformer's config lies in; else the name of the file."""
    index = config_path.parent.parent / "model_index.json"
    return json.loads(index.read_text())["_class_name"] if index.is_file() else config_path.stem


def _text_tokens(config_path: Path) -> int:
    """The length of the family, or what the tokenizer beside a transformer takes if that is less.

    The same number as ``sampling.texts.text_tokens`` of the loaded pipeline.
    """
    family = 300 if "Sigma" in _family(config_path) else 120
    tokenizer = config_path.parent.parent / "tokenizer" / "tokenizer_config.json"
    if not tokenizer.is_file():
        return family
    # A tokenizer that was made without a bound states none, or a huge one.
    return int(min(family, json.loads(tokenizer.read_text()).get("model_max_length") or family))


def _pixels_per_cell(config_path: Path) -> int:
    """The factor of the autoencoder beside a transformer's config; 8, the family's, without one."""
    autoencoder = config_path.parent.parent / "vae" / "config.json"
    if not autoencoder.is_file():
        return 8
    return int(2 ** (len(json.loads(autoencoder.read_text())["block_out_channels"]) - 1))


def _config_path(source: str) -> Path:
    shipped = config_folder("models") / f"{source}.json"
    if shipped.is_file():
        return shipped
    folder = folder_of(source)
    candidates = [folder, folder / "transformer" / "config.json", folder / "config.json"]
    for path in candidates:
        if path.is_file():
            return path
    names = architecture_names()
    expected = f"one of {', '.join(names)}, a pipeline folder, or a transformer's config.json"
    by_lower = {name.lower(): name for name in names}
    found = nearest(source, by_lower)
    remedy = f"did you mean {by_lower[found]!r}?" if found else "correct the name or the path"
    raise UnsupportedError("model: " + mismatch(source, expected, remedy))
