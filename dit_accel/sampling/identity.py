"""What decides the pictures of a set, as one document: it guards a run folder on resume.

Not in it: batch size (unless ``deterministic``), output, format, shards, ranks, statistics, and
versions of libraries, which move images by rounding at most and are kept in ``environment.json``.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any, BinaryIO

from dit_accel.adapters.source import find_adapter
from dit_accel.errors import DitAccelError
from dit_accel.plan import Plan
from dit_accel.reference_models import available
from dit_accel.sampling.conditions import Conditions
from dit_accel.sampling.sample_config import SampleConfig
from dit_accel.sampling.solvers import solver_settings

_DECIDING_FILES = (".json", ".safetensors", ".model", ".txt")
_CHUNK = 1 << 20
_CHUNKS = 64


def identity_of(
    config: SampleConfig,
    plan: Plan,
    folder: Path,
    conditions: Conditions,
    pixels: tuple[int, int],
    text_tokens: int | None = None,
) -> dict[str, Any]:
    """Everything that decides the pictures; JSON-serialisable.

    Image ``i`` is the same in a longer set, and so is the identity but for ``num_samples``.

    Args:
        config: of the set.
        plan: the resolved one.
        folder: of the pipeline.
        conditions: of every image.
        pixels: height and width.
        text_tokens: that every prompt is padded and cut to; None for class-conditional models.
    """
    identity = {
        "model": model_identity(config.model, folder),
        "dtype": config.dtype,
        "plan": plan.to_dict(),
        "plan_fingerprint": plan.fingerprint,
        "scheduler": {"name": config.scheduler, **_solver(config.scheduler, folder)},
        "num_inference_steps": config.num_inference_steps,
        "guidance_scale": config.guidance_scale,
        "height": pixels[0],
        "width": pixels[1],
        "num_samples": len(conditions.items),
        "seed": config.seed,
        "data": dict(conditions.identity),
        "deterministic": config.deterministic,
    }
    if plan.adapter is not None:  # another file may come to lie at the same path
        identity["adapter"] = file_digest(find_adapter(plan.adapter))
    if text_tokens is not None:
        identity["text_tokens"] = text_tokens
    return identity | (_batches(config, len(conditions.items)) if config.deterministic else {})


def _batches(config: SampleConfig, num_samples: int) -> dict[str, int]:
    """What decides the last bit: the company that an image is computed in."""
    last = num_samples % config.batch_size or config.batch_size
    return {"batch_size": config.batch_size, "last_batch": last}


def model_identity(name: str, folder: Path) -> dict[str, Any]:
    """Name of a pipeline, and a hash of every file that decides what it computes.

    Args:
        name: a shipped model's; the folder's own name stands in for a path.
        folder: of the pipeline.
    """
    index = json.loads((folder / "model_index.json").read_text())
    components = [key for key, value in sorted(index.items()) if _is_component(value)]
    files = [
        path
        for component in components
        for path in sorted((folder / component).rglob("*"))
        if path.suffix in _DECIDING_FILES and path.is_file()
    ]
    return {
        "name": name if name in available() else folder.resolve().name,
        "pipeline": index["_class_name"],
        "files": {path.relative_to(folder).as_posix(): file_digest(path) for path in files},
    }


def weighty_components(folder: Path) -> list[str]:
    """The parts of a pipeline that have weights."""
    index = json.loads((folder / "model_index.json").read_text())
    weighty = ("transformer", "vae", "text_encoder")
    return [name for name in weighty if _is_component(index.get(name))]


def file_digest(path: Path) -> str:
    """``<bytes>:<SHA-256>`` of a file; of 64 MiB spread evenly over it where it is larger.

    The first chunk is a safetensors file's header. Weights that were trained any further differ
    nearly everywhere, so that spread chunks tell them apart without reading gigabytes.
    """
    size = path.stat().st_size
    digest = hashlib.sha256()
    with _readable(path) as file:
        if size <= _CHUNK * _CHUNKS:
            digest.update(file.read())
        else:
            for number in range(_CHUNKS):
                file.seek((size - _CHUNK) * number // (_CHUNKS - 1))
                digest.update(file.read(_CHUNK))
    return f"{size}:{digest.hexdigest()}"


def _solver(name: str, folder: Path) -> dict[str, Any]:
    settings = solver_settings(name, scheduler_config(folder))
    named = {key: value for key, value in sorted(settings.items()) if not key.startswith("_")}
    # DPM-Solver's lambda_min_clipped is -Infinity, which strict JSON has no number for.
    return {key: str(value) if _is_infinite(value) else value for key, value in named.items()}


def scheduler_config(folder: Path) -> dict[str, Any]:
    """The config of the scheduler that a pipeline comes with."""
    document: dict[str, Any] = json.loads((folder / "scheduler/scheduler_config.json").read_text())
    return document


def _is_infinite(value: Any) -> bool:
    return isinstance(value, float) and math.isinf(value)


def _is_component(value: Any) -> bool:
    """``["diffusers", "DDIMScheduler"]``; ``[null, null]`` is a component left out."""
    return isinstance(value, list) and len(value) == 2 and None not in value


def _readable(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        remedy = "make it readable for this user, or download the model again"
        raise DitAccelError(f"model: {path} cannot be read ({error.strerror}); {remedy}") from None
