"""A calibrated plan as a folder: `plan.yaml` to read, `calibration.safetensors` for its numbers.

In memory, and in `Plan.to_dict`, the table of weights is part of the plan; in the folder
`plan.yaml` names the file in its place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from dit_accel.configuration.strict_yaml import read_mapping
from dit_accel.errors import PlanError

if TYPE_CHECKING:
    from dit_accel.plan import Plan

PLAN_FILE, TABLE_FILE = "plan.yaml", "calibration.safetensors"


def write_plan_folder(plan: Plan, folder: Path) -> None:
    """Write a plan whose caches may hold tables of calibrated weights.

    Raises:
        PlanError: the folder cannot be written.
    """
    document, tensors = plan.to_dict(), {}
    for index, predictor in _calibrated(document):
        columns = _columns(predictor["table"])
        tensors.update({f"cache.{index}.{name}": value for name, value in columns.items()})
        predictor["table"] = TABLE_FILE
    text = yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=100)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The plan last: a folder without it is none.
        (folder / TABLE_FILE).write_bytes(save(tensors))
        (folder / PLAN_FILE).write_text(text, encoding="utf-8")
    except OSError as error:
        problem = f"cannot be written ({error.strerror}); choose another folder"
        raise PlanError(problem, source=str(folder)) from None


def read_plan_folder(folder: Path) -> dict[str, Any]:
    """The document of a plan, with its tables in it.

    Raises:
        PlanError: a file is missing or can't be read.
    """
    document = read_mapping(folder / PLAN_FILE)
    for index, predictor in _calibrated(document):
        if isinstance(predictor.get("table"), str):
            predictor["table"] = _rows(folder / predictor["table"], f"cache.{index}")
    return document


def _calibrated(document: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Predictors that have a table, with the number of their cache."""
    caches = document.get("cache")
    for index, cache in enumerate(caches if isinstance(caches, list) else [caches]):
        predictor = cache.get("predictor") if isinstance(cache, dict) else None
        if isinstance(predictor, dict) and "table" in predictor:
            yield index, predictor


def _columns(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """A table by its columns; shorter entries are filled up with -1 (steps) and NaN (numbers)."""
    names = sorted({name for row in rows for name in row})
    return {name: _column([row.get(name, math.nan) for row in rows]) for name in names}


def _column(entries: list[Any]) -> np.ndarray:
    if not any(isinstance(entry, list) for entry in entries):
        return np.array(entries)
    longest = max(map(len, entries))
    numbers = any(isinstance(item, float) for entry in entries for item in entry)
    filling = math.nan if numbers else -1
    return np.array([[*entry, *[filling] * (longest - len(entry))] for entry in entries])


def _rows(path: Path, name: str) -> list[dict[str, Any]]:
    prefix = f"{name}."
    try:
        tensors = {
            key.removeprefix(prefix): values.tolist()
            for key, values in load_file(path).items()
            if key.startswith(prefix)
        }
        numbers = range(len(tensors["step"]))
        filled = [{key: _entry(values[row]) for key, values in tensors.items()} for row in numbers]
    except (OSError, SafetensorError, LookupError, TypeError) as error:
        problem = f"cannot be read ({error}); calibrate again, or copy the folder completely"
        raise PlanError(problem, source=str(path)) from None
    return [{key: entry for key, entry in row.items() if entry is not None} for row in filled]


def _entry(value: Any) -> Any:
    """What was there before it was filled up; `None` if nothing was."""
    if isinstance(value, list):
        return [item for item in value if not _is_filling(item)]
    return None if _is_filling(value) else value


def _is_filling(value: float) -> bool:
    return value == -1 if isinstance(value, int) else math.isnan(value)
