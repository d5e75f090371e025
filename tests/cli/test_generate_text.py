"""``dit-accel generate`` from texts: the shipped quick start, and what is said of its prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from dit_accel.cli import app
from dit_accel.resources import config_folder

RUNNER = CliRunner(env={"COLUMNS": "140", "NO_COLOR": "1"})
QUICKSTART = str(config_folder() / "quickstart_text.yaml")


def generate(output: Path, *arguments: str, config: str = QUICKSTART) -> Any:
    quick = ["num_inference_steps=1", "rounds=1", f"output={output}"]
    changes = [part for change in quick for part in ("--set", change)]
    return RUNNER.invoke(app, ["generate", config, *changes, *arguments])


def test_prompts_of_the_command_line_replace_the_files(tmp_path: Path) -> None:
    long = '../a "close" view of 🚀 the catt: {x} ' * 6
    result = generate(tmp_path / "out", "--prompt", "", "--prompt", long)
    assert result.exit_code == 0, result.output
    warnings = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 2
    assert "prompt 2: '.'" in warnings[0] and "'catt' (did you mean 'cat'?)" in warnings[0]
    assert "cut after 24 tokens" in warnings[1] and "prompt 2 (97 tokens) loses" in warnings[1]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["config"]["prompts"] == ["", long]
    assert report["text_encoder_seconds"] > 0
    names = sorted(path.name for path in (tmp_path / "out" / "images" / "dense").iterdir())
    assert names == ["0.png", "1.png"] and len(list(tmp_path.iterdir())) == 1
    with Image.open(tmp_path / "out" / "grid.png") as grid:
        assert 2 * 128 < grid.width < 2 * 128 + 200 and 2 * 128 < grid.height < 2 * 128 + 200


def test_a_prompt_for_a_model_of_classes_is_refused(tmp_path: Path) -> None:
    result = generate(
        tmp_path / "out", "--prompt", "a cat", config=str(config_folder() / "quickstart.yaml")
    )
    assert result.exit_code == 2 and "either class_labels or prompts" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("prompt", ["\udcff", "a \ud83d"])
def test_half_a_character_is_refused(tmp_path: Path, prompt: str) -> None:
    result = generate(tmp_path / "out", "--prompt", prompt)
    assert result.exit_code == 2 and "half of a surrogate pair" in result.stderr
