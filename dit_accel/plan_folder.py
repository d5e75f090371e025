"""A calibrated plan as a folder: `plan.yaml` to read, `calibration.safetensors` for its numbers.

In memory, and in `Plan.to_dict`, the table of weights is part of the plan; in the folder
`plan.yaml` names the file in its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from dit_accel.errors import PlanError
from dit_accel.strict_yaml import read_mapping

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
    longest = max(len(row["after"]) for row in rows)
    after, weights = np.full((len(rows), longest), -1), np.zeros((len(rows), longest))
    for number, row in enumerate(rows):
        after[number, : len(row["after"])] = row["after"]
        weights[number, : len(row["after"])] = row["weights"]
    entering = np.array([row.get("input", 0.0) for row in rows])
    steps = np.array([row["step"] for row in rows])
    return {"step": steps, "after": after, "weights": weights, "input": entering}


def _rows(path: Path, name: str) -> list[dict[str, Any]]:
    try:
        tensors = load_file(path)
        columns = [tensors[f"{name}.{key}"] for key in ("step", "after", "weights", "input")]
    except (OSError, SafetensorError, KeyError) as error:
        problem = f"cannot be read ({error}); calibrate again, or copy the folder completely"
        raise PlanError(problem, source=str(path)) from None
    rows = []
    for step, after, weights, entering in zip(*(c.tolist() for c in columns), strict=True):
        known = sum(at >= 0 for at in after)
        rows.append(
            {"step": step, "after": after[:known], "weights": weights[:known], "input": entering}
        )
    return rows
