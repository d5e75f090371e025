"""The search of the training-free schedule, on a tiny pipeline."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
import yaml
from saved_pipelines import save_tiny_dit
from typer.testing import CliRunner

from dit_accel.plan import Plan

SCRIPT = Path(__file__).parents[2] / "scripts" / "search_pooled.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("search_pooled", SCRIPT)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["search_pooled"] = module
    specification.loader.exec_module(module)
    return module


def test_everything_that_is_tried_is_a_plan(script: Any) -> None:
    tried = list(script.densities())
    plans = {Plan.load({"density": {"kind": "pooled", **each}}).fingerprint for each in tried}
    assert len(plans) == len(tried) == 75


def test_the_front_is_what_nothing_cheaper_equals(script: Any) -> None:
    found = [(0.6, 25.0), (0.5, 20.0), (0.7, 24.0), (0.5, 18.0), (0.9, 30.0)]
    rows = script.mark_front([{"macs": macs, "psnr_db": quality} for macs, quality in found])
    assert [(row["macs"], row["psnr_db"]) for row in rows if row["best"]] == [
        (0.5, 20.0),
        (0.6, 25.0),
        (0.9, 30.0),
    ]
    assert [row["macs"] for row in rows] == [0.5, 0.5, 0.6, 0.7, 0.9]


def test_it_goes_on_where_it_was(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {
        "title": "Tiny",
        "model": str(save_tiny_dit(tmp_path / "model")),
        "guidance_scale": 2.0,
        "data": {"labels": "balanced"},
        "output": str(tmp_path / "runs"),
        "timed_images": 2,
        "reference": "DDIM:4",
        "converged": "UniPC:6",
        "goals": ["DDIM:4"],
        "dense": {"DDIM": [3, 4]},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    tried = [each for each in script.densities() if each["layers"] == [0.2, 0.8]][:3]
    monkeypatch.setattr(script, "densities", lambda: iter(tried))
    drawn: list[Any] = []
    measure = script.Search.measure
    monkeypatch.setattr(
        script.Search,
        "measure",
        lambda self, density: drawn.append(density) or measure(self, density),
    )
    app = typer.Typer()
    app.command()(script.main)
    output = tmp_path / "out" / "search.json"
    command = ["--config", str(tmp_path / "config.yaml"), "--base", "DDIM:4", "--images", "2"]
    for expected in (3, 3):
        result = CliRunner().invoke(app, [*command, "--output", str(output)])
        assert result.exit_code == 0, result.output
        assert len(drawn) == expected
    rows = json.loads(output.read_text())["rows"]
    assert len(rows) == 3 and any(row["best"] for row in rows)
    assert all(0 < row["macs"] < 1 and row["psnr_db"] > 5 for row in rows)
    document = json.loads(output.read_text())
    output.write_text(json.dumps({**document, "rows": rows[:2]}))
    assert CliRunner().invoke(app, [*command, "--output", str(output)]).exit_code == 0
    assert len(drawn) == 4
