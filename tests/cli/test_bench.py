"""``dit-accel bench`` and ``dit-accel plans``."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from saved_text_pipelines import save_tiny_pixart
from typer.testing import CliRunner

from dit_accel import reference_models
from dit_accel.cli import app
from dit_accel.presets import preset_names, published_names
from dit_accel.reporting import presets

RUNNER = CliRunner(env={"COLUMNS": "140", "NO_COLOR": "1"})
QUICK = ["--steps", "6", "--rounds", "1", "--num-images", "1", "--device", "cpu"]


@pytest.fixture(params=["dit", pytest.param("pixart", marks=pytest.mark.slow)])
def pipeline(request: pytest.FixtureRequest, tiny_pipeline: Path, tmp_path: Path) -> Path:
    return tiny_pipeline if request.param == "dit" else save_tiny_pixart(tmp_path / "pixart")


def test_writes_json_and_markdown_and_records_presets(
    pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presets, "measured_path", lambda: tmp_path / "measured.json")
    stem = tmp_path / "results" / "bench"
    command = ["bench", "--model", str(pipeline), "--output", str(stem), *QUICK]
    # Several plans after one --plan, as people write it.
    result = RUNNER.invoke(app, [*command, "--record-presets", "--plan", "fast", "balanced"])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "results" / "bench.json").read_text())
    labels = {row["label"] for row in report["rows"] if row["kind"] == "plan"}
    assert labels == {"fast", "balanced"}
    assert len(report["verdicts"]) == 2
    page = (tmp_path / "results" / "bench.md").read_text()
    assert "dense with fewer steps" in page
    assert ("text encoder" in page) == (pipeline.name == "pixart")
    recorded = json.loads((tmp_path / "measured.json").read_text())[pipeline.name]
    assert {row["preset"] for row in recorded["presets"]} == labels


def test_random_weights_say_that_no_fidelity_is_claimed(
    tiny_pipeline: Path, tmp_path: Path
) -> None:
    config = tiny_pipeline / "transformer" / "config.json"
    command = ["bench", "--model", str(config), "--random-weights", "--plan", "fast", *QUICK]
    result = RUNNER.invoke(app, [*command, "--output", str(tmp_path / "bench")])
    assert result.exit_code == 0, result.output
    assert "No fidelity is claimed" in (tmp_path / "bench.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scheduler", "DDPM"], "deterministic"),
        (["--plan", "fastt"], "did you mean 'fast'"),
        (["--model", "dit-photo"], "dit-photos"),
        (["--random-weights", "--record-presets"], "leave out --random-weights"),
    ],
)
def test_mistakes_are_one_message(arguments: list[str], message: str) -> None:
    result = RUNNER.invoke(app, ["bench", *arguments, *QUICK])
    assert result.exit_code == 2
    assert message in result.stderr and "Traceback" not in result.output


@pytest.mark.slow
def test_under_torchrun_every_rank_measures(tiny_pipeline: Path, tmp_path: Path) -> None:
    config = tiny_pipeline / "transformer" / "config.json"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = ["bench", "--model", str(config), "--random-weights", "--plan", "fast", *QUICK]
    subprocess.run(
        [*launch, "-m", "dit_accel.cli", *command, "--output", str(tmp_path / "bench")],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=280,
    )
    report = json.loads((tmp_path / "bench.json").read_text())
    assert report["provenance"]["world_size"] == 2
    row = report["rows"][0]
    assert row["images_per_second_total"] == pytest.approx(2 * row["images_per_second_per_device"])


def test_plans_lists_every_preset() -> None:
    result = RUNNER.invoke(app, ["plans"])
    assert result.exit_code == 0
    ours, papers = result.output.split("as published")
    assert all(name in papers for name in published_names())
    for table in ours.split("shipped plans on")[1:]:
        assert all(name in table for name in preset_names())
    assert all(f"on {name}" in ours for name in reference_models.available())
