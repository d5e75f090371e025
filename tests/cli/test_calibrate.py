"""``dit-accel calibrate``: a plan's folder from one command, and refusals before a model loads."""

from __future__ import annotations

from pathlib import Path

import pytest
from saved_text_pipelines import save_tiny_pixart
from typer.testing import CliRunner, Result

from dit_accel import Plan
from dit_accel.cli import app

RUNNER = CliRunner(env={"COLUMNS": "140", "NO_COLOR": "1"})
SMALL = ("--steps", "6", "--guidance", "2", "--seeds", "2", "--speedup", "1.4")


@pytest.fixture(autouse=True)
def few_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for steps is what calibration spends its time on."""
    monkeypatch.setattr("dit_accel.calibration.multistep.FITS", 3)


def calibrate(model: object, out: Path, *options: str) -> Result:
    return RUNNER.invoke(app, ["calibrate", str(model), "--out", str(out), *options])


def test_a_plan_for_generate(tiny_pipeline: Path, tmp_path: Path) -> None:
    out = tmp_path / "plan"
    result = calibrate(tiny_pipeline, out, *SMALL, "--label", "cat", "--label", "rocket")
    assert result.exit_code == 0, result.output
    assert "times fewer MACs" in result.output
    plan = Plan.load(out)
    assert plan.calibration is not None and plan.calibration.scheduler_config
    config = tmp_path / "config.yaml"
    config.write_text(
        f"model: {tiny_pipeline}\nscheduler: DDIM\nclass_labels: [cat]\nrounds: 1\n"
        f"num_inference_steps: 6\nguidance_scale: 2\noutput: {tmp_path / 'out'}\n"
    )
    run = ["generate", str(config), "--plan", str(out)]
    result = RUNNER.invoke(app, run)
    assert result.exit_code == 0, result.output
    for change, message in (
        ("guidance_scale=3", "guidance_scale: 3.0 here, 2.0 calibrated"),
        ("num_inference_steps=7", "num_inference_steps: 7 here, 6 calibrated"),
        ("scheduler=UniPC", "UniPCMultistepScheduler here"),
    ):
        result = RUNNER.invoke(app, [*run, "--set", change])
        assert result.exit_code == 2 and message in result.stderr


def test_a_text_conditional_model(tmp_path: Path) -> None:
    model = save_tiny_pixart(tmp_path / "model")
    out = tmp_path / "plan"
    result = calibrate(model, out, *SMALL)
    assert result.exit_code == 2 and "reads texts" in result.stderr and "--prompt" in result.stderr
    result = calibrate(model, out, *SMALL, "--prompt", "a cat", "--prompt", "the moon")
    assert result.exit_code == 0, result.output
    assert Plan.load(out).calibration is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--speedup", "1"), "speedup: "),
        (("--speedup", "2", "--steps", "2"), "num_inference_steps: "),
        (("--speedup", "2", "--scheduler", "DPM"), "did you mean"),
        (("--speedup", "2", "--label", "cta"), "did you mean 'cat'"),
        (("--speedup", "2", "--label", "cat", "--prompt", "a cat"), "leave the other out"),
    ],
)
def test_mistakes_are_found_before_a_model_is_loaded(
    tiny_pipeline: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    message: str,
) -> None:
    def load(*args: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("dit_accel.calibration.command.load_pipeline", load)
    result = calibrate(tiny_pipeline, tmp_path / "plan", *options)
    assert result.exit_code == 2, result.output
    assert message in result.stderr and "Traceback" not in result.output
    assert not (tmp_path / "plan").exists()


def test_a_folder_that_is_not_empty_is_left_alone(tiny_pipeline: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    result = calibrate(tiny_pipeline, tmp_path, "--speedup", "2")
    assert result.exit_code == 2 and "out: " in result.stderr
