"""A pipeline from a name or a folder, as the drop-in class of its family."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from dit_accel.errors import DitAccelError, mismatch
from dit_accel.reference_models import available, folder_of
from dit_accel.sampling.texts import remember_prompts

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def _drop_ins() -> Any:
    # By name: a wheel and a checkout keep the package at different places.
    return import_module("dit_accel.pipelines")


def pipeline_folder(model: str) -> Path:
    """Folder of the pipeline that ``model`` names: a shipped one, or a path.

    Raises:
        DitAccelError: there is no pipeline there.
    """
    folder = folder_of(model)
    if not (folder / "model_index.json").is_file():
        expected = (
            f"{', '.join(available())}, or a diffusers pipeline folder (with model_index.json)"
        )
        remedy = f"nothing is at {folder}; download the pipeline there first, or correct the path"
        raise DitAccelError("model: " + mismatch(model, expected, remedy))
    return folder


def pipeline_family(folder: Path) -> str:
    """Name of the drop-in class that reads this folder.

    Raises:
        DitAccelError: the pipeline is of a family that has none.
    """
    name = json.loads((folder / "model_index.json").read_text()).get("_class_name")
    families = _drop_ins().__all__
    if name not in families:
        expected = f"one of {', '.join(families)}"
        raise DitAccelError(f"model: {folder}: " + mismatch(name, expected, "use such a pipeline"))
    return str(name)


def pipeline_labels(folder: Path) -> dict[str, int]:
    """Class name to number, from ``id2label`` of the pipeline; empty where it names none."""
    names = json.loads((folder / "model_index.json").read_text()).get("id2label", {})
    # ImageNet's entries hold several names of one class, separated by commas.
    return {name.strip(): int(key) for key, value in names.items() for name in value.split(",")}


def load_pipeline(
    model: str, dtype: str, device: str | torch.device, transformer_dtype: str | None = None
) -> Any:
    """Load a pipeline from disk, in ``dtype`` on ``device``, without a progress bar of its own.

    The transformer may be in another precision; it is read in it, and never rounded to ``dtype``.

    Raises:
        DitAccelError: as ``pipeline_folder`` and ``pipeline_family``.
    """
    folder = pipeline_folder(model)
    pipeline_class = getattr(_drop_ins(), pipeline_family(folder))
    precisions = {"default": DTYPES[dtype], "transformer": DTYPES[transformer_dtype or dtype]}
    with _no_progress_bars(), warnings.catch_warnings():
        # diffusers 0.42 renames the argument and 0.41 knows no other name.
        warnings.filterwarnings("ignore", message=".*torch_dtype.*", category=FutureWarning)
        pipe = pipeline_class.from_pretrained(
            folder, torch_dtype=precisions, local_files_only=True, use_safetensors=True
        )
    pipe.set_progress_bar_config(disable=True)
    if hasattr(pipe, "text_embedding_cache"):
        remember_prompts(pipe)
    return pipe.to(device)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a text-conditional pipeline, without the rest of it.

    Raises:
        DitAccelError: the pipeline has none.
    """
    library, name = json.loads((folder / "model_index.json").read_text()).get("tokenizer", (0, 0))
    if not name:
        remedy = "download the pipeline completely"
        raise DitAccelError(f"model: {folder} has no tokenizer, which prompts need; {remedy}")
    tokenizer_class = getattr(import_module(library), name)
    return tokenizer_class.from_pretrained(folder / "tokenizer", local_files_only=True)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Silence the loaders' bars: of eight ranks, eight bars would share a line."""
    shown = [
        log for log in (diffusers_logging, transformers_logging) if log.is_progress_bar_enabled()
    ]
    for log in shown:
        log.disable_progress_bar()
    try:
        yield
    finally:
        for log in shown:
            log.enable_progress_bar()


def default_device() -> torch.device:
    """The first CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
