"""``dit-accel generate``: pictures, report and table from one command."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from dit_accel.cli import app

RUNNER = CliRunner(env={"COLUMNS": "140", "NO_COLOR": "1"})


def config_file(folder: Path, model: Path, extra: str = "") -> Path:
    path = folder / "config.yaml"
    path.write_text(
        f"model: {model}\nplan: {{cache: {{policy: {{kind: interval, interval: 2}}}}}}\n"
        f"class_labels: [cat, rocket]\nnum_inference_steps: 6\nrounds: 1\n"
        f"output: {folder / 'out'}\n{extra}"
    )
    return path


def test_leaves_pictures_and_report(tiny_pipeline: Path, tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["generate", str(config_file(tmp_path, tiny_pipeline))])
    assert result.exit_code == 0, result.output
    assert "dense, fewer steps" in result.output and "PSNR" in result.output
    out = tmp_path / "out"
    for candidate in ("dense", "plan", "fewer_steps"):
        assert len(list((out / "images" / candidate).glob("*.png"))) == 2
    with Image.open(out / "grid.png") as grid:
        assert grid.width > 64 and grid.height > 64
    report = json.loads((out / "report.json").read_text())
    assert {"commit", "versions", "hardware", "threads"} <= set(report["provenance"])
    candidates = report["candidates"]
    assert candidates["plan"]["macs"] < candidates["dense"]["macs"]
    assert candidates["fewer_steps"]["num_inference_steps"] == 4  # 0, 2, 4 and the last
    assert {"psnr_db", "ssim"} == set(candidates["plan"]["to_dense"])


def test_set_and_plan_override_the_file(tiny_pipeline: Path, tmp_path: Path) -> None:
    path = config_file(tmp_path, tiny_pipeline)
    elsewhere = tmp_path / "elsewhere"
    changes = ["--set", f"output={elsewhere}", "--set", "class_labels=[1]", "--plan", "fast"]
    result = RUNNER.invoke(app, ["generate", str(path), *changes])
    assert result.exit_code == 0, result.output
    report = json.loads((elsewhere / "report.json").read_text())
    assert report["config"]["plan"] == "fast" and report["config"]["class_labels"] == [1]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("schedler: DDIM\n", "did you mean 'scheduler'"),
        ("scheduler: DDIMM\n", "did you mean 'DDIM'"),
        ("seeds: [1]\n", "one seed an image"),
    ],
)
def test_mistakes_are_found_before_a_model_is_loaded(
    tmp_path: Path, tiny_pipeline: Path, extra: str, message: str
) -> None:
    weights = "no model may be opened for a config that is wrong"
    path = config_file(tmp_path, tmp_path / weights, extra)
    result = RUNNER.invoke(app, ["generate", str(path)])
    assert result.exit_code == 2
    assert message in result.stderr and "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_missing_config_is_one_message(tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["generate", str(tmp_path / "none.yaml")])
    assert result.exit_code == 2 and "cannot read the file" in result.stderr
