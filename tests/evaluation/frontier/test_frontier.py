"""The whole command on tiny pipelines: what it leaves, and that nothing is done twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from dit_accel.cli import app
from dit_accel.evaluation.frontier import measure
from dit_accel.evaluation.frontier.config import load_frontier
from dit_accel.evaluation.frontier.document import finished_frontier, frontier_document
from dit_accel.evaluation.frontier.measure import FrontierRun
from dit_accel.evaluation.frontier.prepare import prepare_frontier

ROWS = [
    "dense, DDIM 4",
    "dense, DDIM 8",
    "dense, UniPC 3",
    "dense, UniPC 6",
    "fast, DDIM 8",
    "fast, UniPC 6",
    "ours, UniPC 6",
    "diffusers first-block 0.3, DDIM 8",
    "diffusers first-block 0.3, UniPC 6",
    "diffusers TaylorSeer N2 O1 W3, DDIM 8",
]


def command(document: Path, *more: str) -> str:
    result = CliRunner().invoke(app, ["frontier", str(document), *more])
    assert result.exit_code == 0, result.output
    return result.output


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "frontier.jsonl").read_text().splitlines()]


def test_leaves_tables_data_and_a_picture(document: Path, tmp_path: Path) -> None:
    output = command(document, "--report", str(tmp_path / "report"))
    folder = tmp_path / "report"
    assert str(folder / "frontier.md") in output
    found = json.loads((folder / "frontier.json").read_text())
    assert [row["name"] for row in found["rows"]] == ROWS
    assert found["command"].startswith(f"dit-accel frontier {document} --report ")
    assert found["settings"]["seeds"] == [2, 4]
    assert found["provenance"][0]["versions"]["torch"]
    rows = {row["name"]: row for row in found["rows"]}
    for row in rows.values():
        assert row["seconds"] > 0 and row["macs"] > 0
        assert len(row["to_converged"]["seeds"]) == 3
    assert rows["dense, DDIM 8"]["ratio"] == 1
    assert rows["dense, DDIM 8"]["to_reference"]["db"] is None
    assert rows["dense, DDIM 4"]["forwards"] == 4
    assert 2 < rows["fast, UniPC 6"]["forwards"] < 4
    assert rows["fast, UniPC 6"]["cache_bytes"] > 0
    assert rows["ours, UniPC 6"]["calibrated"]
    assert rows["diffusers first-block 0.3, UniPC 6"]["decides_by_batch"]
    assert rows["diffusers first-block 0.3, UniPC 6"]["cache_bytes"] > 0
    page = (folder / "frontier.md").read_text()
    assert all(name in page for name in ROWS)
    assert "Which rows beat dense with fewer steps, and which lose?" in page
    with Image.open(folder / "frontier.png") as picture:
        assert picture.size == (1500, 700)


def test_prompts_do_as_well(text_document: Path, tmp_path: Path) -> None:
    command(text_document)
    found = json.loads((tmp_path / "out" / "report" / "frontier.json").read_text())
    assert [row["name"] for row in found["rows"]] == ROWS


@pytest.mark.parametrize("kind", ["document", "text_document"])
def test_cache_dit_goes_with_our_pipelines(kind: str, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("cache_dit", reason="cache-dit is not installed (it is in the test extra)")
    grid = "{first: 1, warm_up: 2, threshold: 0.6, taylor: 1}"
    changes = [
        f"peers=[{{kind: cache_dit, grid: {grid}, bases: ['UniPC:6']}}]",
        "plans={}",
        "rounds=1",
    ]
    path = request.getfixturevalue(kind)
    run = FrontierRun(prepare_frontier(load_frontier(path, changes)))
    run.measure()
    row = frontier_document(finished_frontier(run))["rows"][-1]
    assert row["name"] == "cache-dit F1 B0 W2 0.6 T1, UniPC 6"
    assert 2 < row["forwards"] < 6 and row["cache_bytes"] > 0
    assert row["to_own_dense"]["db"] > 5


def test_plans_have_the_exact_rewrites_on_and_dense_too(document: Path) -> None:
    prepared = prepare_frontier(load_frontier(document))
    assert all(entry.plan.exact for entry in prepared.entries)


def test_a_killed_run_goes_on(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def until(name: str) -> Any:
        def advance(done: str) -> None:
            if done == name:
                raise Killed

        return advance

    prepared = prepare_frontier(load_frontier(document))
    with pytest.raises(Killed):
        FrontierRun(prepared).measure(until("fast, DDIM 8"))
    before = lines(tmp_path / "out")
    assert [line["entry"] for line in before] == ROWS[:5]
    # As a process that is killed while it writes leaves it.
    with (tmp_path / "out" / "frontier.jsonl").open("a") as file:
        file.write('{"kind": "quality", "ent')

    again = FrontierRun(prepared)
    assert [entry.name for entry in again.pending_quality()] == ROWS[5:]
    done: list[str] = []
    total = again.total
    again.measure(done.append)
    assert len(done) == total
    assert done[:5] == ROWS[5:]
    last = FrontierRun(prepared)
    assert last.total == 0
    monkeypatch.setattr(measure, "load_pipeline", lambda *_: pytest.fail("nothing is missing"))
    last.measure()
    assert len(frontier_document(finished_frontier(last))["rows"]) == len(ROWS)


def test_a_new_row_is_timed_beside_the_reference(document: Path, tmp_path: Path) -> None:
    few = ["plans={fast: {bases: ['UniPC:6']}}", "peers=[]"]
    FrontierRun(prepare_frontier(load_frontier(document, few))).measure()
    more = ["plans={fast: {bases: ['UniPC:6']}, balanced: {bases: ['UniPC:6']}}", "peers=[]"]
    done: list[str] = []
    FrontierRun(prepare_frontier(load_frontier(document, more))).measure(done.append)
    pair = ["dense, DDIM 8", "balanced, UniPC 6"]
    assert done == [
        "balanced, UniPC 6",
        *(f"warm-up, {name}" for name in pair),
        *pair,
        *reversed(pair),
    ]
    rounds = [line for line in lines(tmp_path / "out") if line["kind"] == "round"]
    assert [len(line["seconds"]) for line in rounds] == [5, 5, 2, 2]


@pytest.mark.parametrize("change", ["guidance_scale=3.0", "report_seeds.first=3", "dtype=bfloat16"])
def test_other_pictures_are_measured_anew(document: Path, change: str) -> None:
    first = FrontierRun(prepare_frontier(load_frontier(document)))
    other = FrontierRun(prepare_frontier(load_frontier(document, [change])))
    assert not set(first.quality_keys.values()) & set(other.quality_keys.values())
    assert not set(first.timing_keys.values()) & set(other.timing_keys.values())


def test_more_seeds_leave_the_times_as_they_are(document: Path) -> None:
    first = FrontierRun(prepare_frontier(load_frontier(document)))
    more = FrontierRun(prepare_frontier(load_frontier(document, ["report_seeds.count=9"])))
    assert not set(first.quality_keys.values()) & set(more.quality_keys.values())
    assert first.timing_keys == more.timing_keys


def test_selection_is_on_seeds_of_its_own_and_says_so(document: Path, tmp_path: Path) -> None:
    few = ["--set", "plans={fast: {bases: ['UniPC:6']}}", "--set", "peers=[]"]
    command(document, "--select", *few, "--set", "rounds=1")
    folder = tmp_path / "out" / "report"
    assert json.loads((folder / "frontier.json").read_text())["settings"]["seeds"] == [0, 1]
    assert "These are the seeds that plans are chosen on" in (folder / "frontier.md").read_text()


def test_calibrated_plans_are_fitted_once_and_compared(
    document: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dit_accel.calibration.multistep.FITS", 2)
    content = yaml.safe_load(document.read_text())
    content |= {
        "calibrated": [{"base": "DDIM:8", "speedups": [2]}],
        "calibration_seeds": 2,
        "plans": {},
        "peers": [],
    }
    document.write_text(yaml.safe_dump(content, sort_keys=False))
    report = document.parent / "report"
    command(document, "--report", str(report))
    plan = Path(content["output"]) / "plans" / "DDIM-8-2x-converged-2" / "plan.yaml"
    written = plan.stat().st_mtime_ns
    assert "calibrated 2x to converged, DDIM 8" in (report / "frontier.json").read_text()
    command(document, "--report", str(report))
    assert plan.stat().st_mtime_ns == written
    few = CliRunner().invoke(app, ["frontier", str(document), "--set", "calibration_seeds=3"])
    assert few.exit_code == 2 and "at most the 2 selection seeds" in few.stderr
