"""The shipped evaluation of pixart-photos, made tiny: by one command, from any folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dit_accel.cli import app
from dit_accel.errors import DitAccelError
from dit_accel.evaluation.config import load_evaluation
from dit_accel.evaluation.evaluate import prepare_evaluation
from dit_accel.resources import config_folder

CONFIG = config_folder("eval") / "pixart_photos.yaml"
PROMPTED = ["photograph as prompted", "part as prompted", "nearness as prompted"]
TINY = [
    "num_samples=4",
    "batch_size=4",
    "rounds=1",
    "latency_images=1",
    "baseline=dense",
    "metrics=[fd_ref, prompt_accuracy, psnr]",
    "runs={dense: {scheduler: UniPC, num_inference_steps: 2}, "
    "quality: {scheduler: DPMSolver++, num_inference_steps: 2, plan: quality}}",
]


def evaluate(*more: str) -> None:
    changes = [part for change in (*TINY, *more) for part in ("--set", change)]
    result = CliRunner().invoke(app, ["evaluate", str(CONFIG), "--quiet", *changes])
    assert result.exit_code == 0, result.output


def test_one_command_says_how_far_runs_follow_their_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    evaluate()
    folder = tmp_path / "runs" / "eval" / "pixart_photos"
    results = json.loads((folder / "report.json").read_text())
    for records in results["scores"].values():
        found = {record["metric"]: record for record in records}
        shares = [
            found[f"prompt_{name}"] for name in ("photograph", "part", "nearness", "mirrored")
        ]
        assert all(record["value"] in (0, 0.25, 0.5, 0.75, 1) for record in shares)
        assert all(record["settings"]["prompts"] == record["n"] == 4 for record in shares)
    first = (config_folder("prompts") / "photos.txt").read_text().splitlines()[0]
    page, text = ((folder / name).read_text() for name in ("report.html", "report.md"))
    for title in PROMPTED:
        assert title in page and title in text
    assert "against the prompts, N = 4" in page and "against the prompts, N = 4" in text
    assert first in page  # above the pictures that were made from it

    table = CliRunner().invoke(app, ["score", str(folder / "quality"), "--table"])
    assert "part as prompted ↑" in table.output


def test_the_identity_of_every_run_can_be_written(tmp_path: Path) -> None:
    """The solver's settings hold an infinity, which strict JSON has no number for."""
    evaluation = prepare_evaluation(*load_evaluation(CONFIG, [f"output={tmp_path}"]))
    for run in evaluation.runs.values():
        json.dumps(run.identity, allow_nan=False)


def test_prompts_that_name_nothing_are_refused_before_sampling() -> None:
    changes = ["data.prompts=[a bus, a dog]"]
    with pytest.raises(
        DitAccelError, match=r"runs\.dense-50: prompt_accuracy: none of 256 prompts"
    ):
        prepare_evaluation(*load_evaluation(CONFIG, changes))


def test_a_model_without_prompts_is_refused_before_sampling(document: Path) -> None:
    changes = ["metrics=[prompt_accuracy]"]
    with pytest.raises(DitAccelError, match=r"compares pictures with their prompts.*have none"):
        prepare_evaluation(*load_evaluation(document, changes))
