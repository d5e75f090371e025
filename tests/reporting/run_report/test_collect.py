"""Run folders and evaluations, read into records."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from report_runs import RunSpec, scores, write_run

from dit_accel.errors import DitAccelError
from dit_accel.reporting.run_report.collect import class_names, read_report
from dit_accel.reporting.run_report.missing import missing
from dit_accel.reporting.run_report.model import Report, speed_up
from dit_accel.scoring.records import append_records, read_records


def test_an_evaluation_gives_labels_kinds_times_and_the_baseline(tidy_report: Report) -> None:
    assert [run.label for run in tidy_report.plans] == ["quality", "balanced", "fast"]
    assert tidy_report.baseline is tidy_report.runs[0]
    fast = tidy_report.runs[-1]
    assert fast.solver == "DDIM 50" and fast.method == "cache: interval, merge: tome2d"
    assert fast.latency is not None and fast.latency.seconds == pytest.approx(0.91)
    assert speed_up(tidy_report.common_start, fast) == pytest.approx(2.5 / 0.91)
    assert fast.macs is not None and fast.explanation is not None
    assert fast.macs.upper == fast.explanation.cost.macs_plan


def test_the_command_that_made_an_evaluation_is_told(evaluation: Path, tmp_path: Path) -> None:
    document = json.loads((evaluation / "evaluation.json").read_text())
    document["runs"] = {"gone": {"path": str(evaluation / "fast"), "kind": "plan"}}
    document["provenance"]["command"] = "dit-accel evaluate my.yaml --set num_samples=9"
    (tmp_path / "evaluation.json").write_text(json.dumps(document))
    report = read_report([tmp_path])
    assert report.remake == "dit-accel evaluate my.yaml --set num_samples=9"
    assert report.remake in [item.command for item in missing(report)]


def test_class_names_come_from_the_pipeline(tidy_report: Report) -> None:
    assert class_names(tidy_report)[3] == "cat"


def test_runs_alone_are_named_by_their_folders(tmp_path: Path) -> None:
    dense = write_run(tmp_path / "a" / "run", RunSpec(steps=2))
    write_run(tmp_path / "b" / "run", RunSpec(steps=3, scores=scores(1.0, 30.0)), dense)
    report = read_report([tmp_path / "a" / "run", tmp_path / "b" / "run"])
    assert [run.name for run in report.runs] == ["a/run", "b/run"]
    assert report.baseline is report.runs[0], "what paired scores refer to"
    assert report.runs[0].latency is None and report.runs[0].speed is not None


def test_the_dense_run_of_most_steps_is_the_baseline_without_paired_scores(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / str(steps), RunSpec(steps=steps)).path for steps in (2, 5, 3)]
    report = read_report(folders)
    assert report.baseline is report.runs[1]


def test_a_run_whose_model_is_elsewhere_is_still_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_run(tmp_path / "run", RunSpec(steps=2, model="gone/elsewhere"))
    run = read_report([folder.path]).runs[0]
    assert run.explanation is None and "gone/elsewhere" in run.unexplained
    assert run.macs is None


def test_the_newest_score_of_most_pictures_counts(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", RunSpec(steps=2, scores={"fd_ref": (3.0, None)}))
    [record] = read_records(folder.scores)
    newer = dataclasses.replace(record, value=2.0, time=2.0)
    fewer = dataclasses.replace(record, value=9.0, n=5, time=3.0)
    append_records(folder.scores, [newer, fewer])
    with folder.scores.open("a") as file:
        file.write('{"metric": "fd_r')
    [score] = read_report([folder.path]).runs[0].scores
    assert (score.value, score.n) == (2.0, 12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: [path / "nothing"], "no run folder"),
        (lambda path: [], "no run was given"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, make: object, message: str) -> None:
    with pytest.raises(DitAccelError, match=message):
        read_report(make(tmp_path))  # type: ignore[operator]


def test_damaged_and_mixed_evaluations_are_refused(tmp_path: Path, evaluation: Path) -> None:
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(DitAccelError, match="no JSON"):
        read_report([tmp_path])
    with pytest.raises(DitAccelError, match="report it alone"):
        read_report([evaluation, evaluation / "fast"])
    with pytest.raises(DitAccelError, match="given twice"):
        read_report([evaluation / "fast", evaluation / "fast"])
