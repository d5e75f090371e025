"""The trained pipelines that travel with the package, in ordinary diffusers format."""

from __future__ import annotations

from pathlib import Path

from dit_accel.resources import reference_model_folder


def available() -> tuple[str, ...]:
    """Names of the pipelines that this installation holds, in alphabetical order."""
    index_files = reference_model_folder("").glob("*/model_index.json")
    return tuple(sorted(index.parent.name for index in index_files))


def folder_of(model: str) -> Path:
    """Folder of the installed pipeline of that name, or else the path that ``model`` is."""
    return find(model) if model in available() else Path(model)


def find(name: str) -> Path:
    """Folder of the pipeline called ``name``, for ``DiffusionPipeline.from_pretrained``.

    Raises:
        FileNotFoundError: no pipeline of that name is installed; the message lists those that are.
    """
    if name not in available():
        searched, installed = reference_model_folder(""), ", ".join(available()) or "none"
        raise FileNotFoundError(
            f"no reference pipeline {name!r} in {searched}; installed there: {installed}"
        )
    return reference_model_folder(name)
