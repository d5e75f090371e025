"""Sample, score, time, report: all of it on a tiny model, and nothing of it twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dit_accel.cli import app
from dit_accel.evaluation import evaluate as parts
from dit_accel.evaluation.config import load_evaluation
from dit_accel.scoring.records import read_records


@pytest.fixture
def finished(document: Path, tmp_path: Path) -> Path:
    result = CliRunner().invoke(app, ["evaluate", str(document), "--quiet"])
    assert result.exit_code == 0, result.output
    return tmp_path / "out"


def test_leaves_everything_that_a_report_shows(finished: Path) -> None:
    document = json.loads((finished / "evaluation.json").read_text())
    assert document["runs"]["dense"]["kind"] == "dense"
    assert document["runs"]["cached"]["kind"] == "plan"
    assert document["provenance"]["command"].startswith("dit-accel evaluate ")
    assert document["provenance"]["command"].endswith("evaluation.yaml")
    for name in ("dense", "cached"):
        assert len(list((finished / name / "images").rglob("*.png"))) == 6
        metrics = [record.metric for record in read_records(finished / name / "scores.jsonl")]
        assert metrics == ["fd_ref", "psnr"]
        assert document["latency"][name]["images"] == 2
        assert len(document["latency"][name]["rounds_s"]) == 1
        assert document["memory"][name]["kind"]
    assert document["macs"]["cached"]["upper"] < document["macs"]["dense"]["upper"]
    page = (finished / "report.html").read_text()
    assert "cached" in page and "PSNR" in page
    results = json.loads((finished / "report.json").read_text())
    assert {score["metric"] for score in results["scores"]["cached"]} == {"fd_ref", "psnr"}


def test_a_second_call_does_nothing_twice(
    finished: Path, document: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("done before")

    monkeypatch.setattr(parts, "append_records", refuse)
    monkeypatch.setattr(parts, "measure_speed", refuse)
    before = (finished / "evaluation.json").read_bytes()
    result = CliRunner().invoke(app, ["evaluate", str(document), "--quiet"])
    assert result.exit_code == 0, result.output
    assert (finished / "evaluation.json").read_bytes() == before


def test_only_what_changed_is_done_again(
    finished: Path, document: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = parts.prepare_evaluation(*load_evaluation(document, ["metrics=[fd_ref]"]))
    scored: list[str] = []
    monkeypatch.setattr(parts, "measure_speed", lambda *a, **k: pytest.fail("nothing changed"))
    parts.score_runs(evaluation, scored.append)
    assert scored == ["scoring dense", "scoring cached"]


def test_other_ranks_only_sample(document: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", str(document), "--quiet", "--shard", "1/2"])
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "out" / "cached" / "images").rglob("*.png"))) == 6
    assert not (tmp_path / "out" / "evaluation.json").exists()


def test_a_reference_that_is_not_there_is_refused_before_sampling(
    document: Path, tmp_path: Path
) -> None:
    arguments = ["evaluate", str(document), "--set", "reference=nowhere.npz"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "nowhere.npz" in result.output
    assert not (tmp_path / "out").exists()
