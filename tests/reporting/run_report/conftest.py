"""Reports of two made-up evaluations: a tidy one, and one with everything that goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_runs import DIT_PHOTOS, INTERVAL, NASTY, RunSpec, scores, write_evaluation

from dit_accel.reporting.run_report.collect import read_report
from dit_accel.reporting.run_report.model import Report
from dit_accel.reporting.run_report.write import write_report


@pytest.fixture(scope="session")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven runs with scores and latency."""
    folder = tmp_path_factory.mktemp("evaluation") / "dit_photos"
    return write_evaluation(folder, "dit-photos: plans beside fewer steps", DIT_PHOTOS, "dense_50")


@pytest.fixture(scope="session")
def untidy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation with hostile texts, a partial set, and neither all scores nor all times."""
    prompts = (NASTY, "a cat / a dog", "x" * 300)
    runs = {
        "dense run": RunSpec(scores=scores(12.0), label=NASTY, prompts=prompts),
        "half made": RunSpec(
            plan=INTERVAL, prompts=prompts, made=7, seconds=None, scores=scores(11.0, 30.0)
        ),
        "unscored <b>": RunSpec(plan=INTERVAL, steps=12, prompts=prompts, seconds=0.5),
        "other seeds": RunSpec(plan=INTERVAL, prompts=prompts, seed=100, scores=scores(13.0)),
    }
    folder = tmp_path_factory.mktemp("untidy") / "an evaluation"
    return write_evaluation(folder, f"Title {NASTY}", runs, "dense run")


@pytest.fixture(scope="session")
def tidy_report(evaluation: Path) -> Report:
    """What is read from the tidy evaluation."""
    return read_report([evaluation])


@pytest.fixture(scope="session")
def untidy_report(untidy: Path) -> Report:
    """What is read from the untidy one."""
    return read_report([untidy])


@pytest.fixture(scope="session", params=["tidy", "untidy"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole report, once of each evaluation."""
    report = request.getfixturevalue(f"{request.param}_report")
    folder = tmp_path_factory.mktemp("report")
    write_report(report, folder)
    return folder
