"""``dit-accel sample`` and ``dit-accel export``: messages, exit codes, and a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sampling_process import files_of, images_of, recorded, wait_until
from typer.testing import CliRunner

from dit_accel.cli import app
from dit_accel.sampling.ranks.set_progress import SetProgress

RUNNER = CliRunner(env={"COLUMNS": "140", "NO_COLOR": "1"})


@pytest.fixture
def config(tiny_pipeline: Path, tmp_path: Path) -> Path:
    path = tmp_path / "set.yaml"
    path.write_text(
        f"model: {tiny_pipeline}\nnum_inference_steps: 2\nnum_samples: 5\nbatch_size: 2\n"
        f"shard_size: 2\ndata: {{labels: [cat, 2]}}\noutput: {tmp_path / 'run'}\n"
    )
    return path


def sample(config: Path, *arguments: str) -> Any:
    return RUNNER.invoke(app, ["sample", str(config), *arguments])


def test_makes_the_set_says_how_fast_and_exports_it(config: Path, tmp_path: Path) -> None:
    first = sample(config)
    assert first.exit_code == 0, first.output
    assert "run: 5 of 5 images" in first.stdout and "in all: 5 images" in first.stdout
    assert "0 of 5 images are there" in first.stderr and "5/5 images" in first.stderr
    again = sample(config, "--quiet")
    assert again.exit_code == 0 and "nothing left to do" in again.stderr
    assert len(recorded(tmp_path / "run")) == 5

    exported = RUNNER.invoke(app, ["export", str(tmp_path / "run"), str(tmp_path / "set.npz")])
    assert exported.exit_code == 0 and "set.npz: 5 images" in exported.stdout
    with np.load(tmp_path / "set.npz") as arrays:
        images = images_of(tmp_path / "run")
        assert (arrays["arr_0"] == np.stack([images[index] for index in range(5)])).all()
        assert arrays["arr_1"].tolist() == [0, 2, 0, 2, 0]


def test_shards_are_told_by_the_command_line(config: Path, tmp_path: Path) -> None:
    result = sample(config, "--shard", "1/2", "--no-steal")
    assert result.exit_code == 0, result.output
    assert sorted(images_of(tmp_path / "run")) == [2, 3]
    assert "rank 1/2: made 2 images" in result.stderr and "2 of 5 are there" in result.stderr
    refused = RUNNER.invoke(app, ["export", str(tmp_path / "run"), str(tmp_path / "set.npz")])
    assert refused.exit_code == 2 and "has 2 of 5 images" in refused.stderr


def test_what_is_lost_of_prompts_is_said_once(config: Path, tmp_path: Path) -> None:
    prompts = '{prompts: ["the zebra", "", "' + "the cat " * 30 + '"]}'
    changes = ["model=pixart-photos", f"data={prompts}", "num_inference_steps=1", "height=16"]
    result = sample(config, *(part for change in changes for part in ("--set", change)))
    assert result.exit_code == 0, result.output
    said = result.stderr.splitlines()
    assert sum("prompt 1: 'zebra'; known words: a, all" in line for line in said) == 1
    assert sum("cut after 24 tokens" in line for line in said) == 1
    assert result.stderr.count("truncated") == result.stderr.count("Token indices") == 0
    assert len(files_of(tmp_path / "run")) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "schedler=DDIM"], "did you mean 'scheduler'"),
        (["--set", "data={labels: [dog]}"], "expected one of cat, moon, rocket"),
        (["--shard", "2/2"], "i counts from 0"),
    ],
)
def test_mistakes_are_refused_before_a_folder_is_begun(
    config: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = sample(config, *arguments)
    assert result.exit_code == 2 and message in result.stderr
    assert "Traceback" not in result.output and not (tmp_path / "run").exists()


def test_another_config_is_refused_with_a_diff(config: Path) -> None:
    assert sample(config).exit_code == 0
    result = sample(config, "--set", "guidance_scale=2")
    assert result.exit_code == 2 and "guidance_scale: 4.0 → 2.0" in result.stderr


def test_ray_has_to_be_installed(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dit_accel.cli.sample.find_spec", lambda name: None)
    result = sample(config, "--executor", "ray")
    assert result.exit_code == 2 and "pip install 'dit-accel[ray]'" in result.stderr


def test_ray_deals_out_the_work_by_itself(config: Path) -> None:
    result = sample(config, "--executor", "ray", "--shard", "0/2")
    assert result.exit_code == 2 and "leave out --shard and --no-steal" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "how"),
    [
        (["--quiet"], {}, "dit-accel sample {}"),
        (["--shard", "0/2", "--no-steal"], {}, "dit-accel sample {} --shard 0/2 --no-steal"),
        ([], {"RANK": "1", "WORLD_SIZE": "2"}, "the same launcher, or alone, dit-accel sample {}"),
    ],
)
def test_a_stopped_rank_says_how_to_resume(
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environment: dict[str, str],
    how: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stopped = SetProgress(num_samples=5, complete=2, made=2, seconds=1.0, exit_code=143)
    monkeypatch.setattr("dit_accel.sampling.ranks.worker.sample_set", lambda *_, **__: stopped)
    result = sample(config, *arguments)
    assert result.exit_code == 143
    assert f"stopped; resume with: {how.format(config)}\n" in result.stderr


def test_what_cannot_be_written_is_one_message_and_exit_1(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(image: np.ndarray, file: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dit_accel.runs.formats._save_png", full)
    result = sample(config)
    assert result.exit_code == 1 and "Traceback" not in result.output
    assert "No space left" in result.stderr and "run the same command again" in result.stderr


def test_ctrl_c_and_resume_in_a_process(config: Path, tmp_path: Path) -> None:
    more = ["--set", "num_samples=400"]
    command = [sys.executable, "-m", "dit_accel.cli", "sample", str(config), *more]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        wait_until(lambda: len(recorded(tmp_path / "run")) >= 2, 200)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert f"resume with: dit-accel sample {config} --set num_samples=400" in err
    there = len(recorded(tmp_path / "run"))
    assert 2 <= there < 400 and there == len(files_of(tmp_path / "run"))
    assert not list(tmp_path.glob("run/claims/*.json"))
