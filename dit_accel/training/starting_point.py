"""The trained class-conditional pipeline that a text-conditional one starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dit_accel.errors import DitAccelError, did_you_mean, mismatch, show
from dit_accel.reference_models import available, folder_of

from .checkpoint import read_json
from .config import TextRecipe

_TRANSFORMER, _SCHEDULER = "transformer/config.json", "scheduler/scheduler_config.json"
_SHAPE = ("num_layers", "num_attention_heads", "attention_head_dim", "patch_size")


def starting_point(config: TextRecipe) -> Path:
    """Folder of the recipe's ``start_from``, whose weights fit the recipe's transformer.

    Raises:
        DitAccelError: no pipeline is there, it is no DiT, or its shape or target is another.
    """
    folder = _folder(config.start_from)
    stored = read_json(folder / _TRANSFORMER)
    if stored["_class_name"] != "DiTTransformer2DModel":
        expected = "a DiTTransformer2DModel"
        raise DitAccelError(
            f"start_from: {folder}: "
            + mismatch(stored["_class_name"], expected, "name a class-conditional pipeline")
        )
    for name in _SHAPE:
        wanted = getattr(config.transformer, name)
        if stored[name] != wanted:
            expected = f"{stored[name]} as in {folder}"
            remedy = "weights can only be taken over by a transformer of the same shape"
            raise DitAccelError(f"transformer.{name}: {mismatch(wanted, expected, remedy)}")
    _check_target(folder, stored)
    return folder


def _check_target(folder: Path, stored: dict[str, Any]) -> None:
    """What it predicts must be what the training asks for: a velocity, and no variance."""
    scheduler = read_json(folder / _SCHEDULER)
    found = [scheduler.get("prediction_type"), stored["out_channels"]]
    wanted = ["v_prediction", stored["in_channels"]]
    if found != wanted:
        remedy = "name a pipeline trained by scripts/train_reference.py"
        text = mismatch(found, f"{show(wanted)} as prediction_type and out_channels", remedy)
        raise DitAccelError(f"start_from: {folder}: {text}")


def _folder(name: str) -> Path:
    folder = folder_of(name)
    if not all((folder / part).is_file() for part in (_TRANSFORMER, _SCHEDULER)):
        expected = f"{' or '.join(available())}, or the folder of a diffusers pipeline"
        remedy = did_you_mean(name, available()) + "correct the name, or train that one first"
        raise DitAccelError(f"start_from: {mismatch(name, expected, remedy)}")
    return folder
