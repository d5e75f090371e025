"""A tiny frontier: a few rows of a tiny pipeline, measured in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from saved_pipelines import save_tiny_dit
from saved_text_pipelines import save_tiny_pixart


@pytest.fixture(scope="session")
def tiny_dit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_dit(tmp_path_factory.mktemp("tiny_dit"))


@pytest.fixture(scope="session")
def tiny_pixart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pixart(tmp_path_factory.mktemp("tiny_pixart"))


def frontier_document(model: Path, data: dict[str, Any], output: Path) -> dict[str, Any]:
    bases = ["DDIM:8", "UniPC:6"]
    return {
        "title": "Tiny",
        "model": str(model),
        "guidance_scale": 2.0,
        "data": data,
        "output": str(output),
        "selection_seeds": {"first": 0, "count": 2},
        "report_seeds": {"first": 2, "count": 3},
        "batch_size": 2,
        "timed_images": 2,
        "rounds": 2,
        "reference": "DDIM:8",
        "converged": "UniPC:12",
        "goals": ["DDIM:8"],
        "speed_ups": [1.5],
        "dense": {"DDIM": [4, 8], "UniPC": [3, 6]},
        "plans": {
            "fast": {"bases": bases},
            "ours": {
                "plan": {"cache": {"policy": {"kind": "first_block", "threshold": 0.3}}},
                "bases": ["UniPC:6"],
                "calibrated": True,
            },
        },
        "peers": [
            {"kind": "diffusers_first_block", "grid": {"threshold": [0.3]}, "bases": bases},
            {"kind": "diffusers_taylorseer", "grid": {"interval": 2}, "bases": ["DDIM:8"]},
        ],
    }


@pytest.fixture
def document(tiny_dit: Path, tmp_path: Path) -> Path:
    """The YAML file of a frontier with eight rows."""
    content = frontier_document(tiny_dit, {"labels": "balanced"}, tmp_path / "out")
    path = tmp_path / "frontier.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.fixture
def text_document(tiny_pixart: Path, tmp_path: Path) -> Path:
    """The same of a text-conditional pipeline."""
    prompts = {"prompts": ["a cat", "a dog on a moon", "coffee"]}
    content = frontier_document(tiny_pixart, prompts, tmp_path / "out")
    content["report_seeds"] = {"first": 2, "count": 2}
    path = tmp_path / "frontier.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path
