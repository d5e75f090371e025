"""``dit-accel score``: lines of JSON, a table, and refusals in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scored_runs import TinyExtractor, pictures, write_run
from typer.testing import CliRunner, Result

from dit_accel.cli.app import app
from dit_accel.scoring import scorer

COUNT = 12


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, **options: object) -> TinyExtractor:
        return TinyExtractor(name)

    monkeypatch.setattr(scorer, "load_extractor", load)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_run(tmp_path / "dense", pictures(COUNT))
    write_run(tmp_path / "plan", pictures(COUNT, seed=1), plan="plan")
    np.savez(tmp_path / "real.npz", arr_0=pictures(20, seed=2))
    return tmp_path


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["score", *map(str, arguments)])


def test_writes_lines_and_prints_values(place: Path) -> None:
    done = invoke(place / "plan", "--metrics", "fd_ref,kid_ref", "--reference", place / "real.npz")
    assert done.exit_code == 0, done.output
    assert "FD-ref (N=12)" in done.output
    lines = (place / "plan" / "scores.jsonl").read_text().splitlines()
    assert [json.loads(line)["metric"] for line in lines] == ["fd_ref", "kid_ref"]


def test_a_table_of_several_runs(place: Path) -> None:
    runs = [place / "dense", place / "plan"]
    invoke(*runs, "--metrics", "fd_ref", "--reference", place / "real.npz")
    paired = invoke(*runs, "--metrics", "psnr", "--baseline", place / "dense", "--table")
    assert paired.exit_code == 0, paired.output
    head = paired.output.splitlines()[0]
    assert head == "| set | N | FD-ref ↓ | PSNR, dB ↑ |"
    assert "∞" in paired.output
    later = invoke(*runs, "--table")
    assert later.output == paired.output


def test_a_file_is_scored_beside_it_or_where_asked(place: Path) -> None:
    options = ["--metrics", "fd_ref", "--reference", place / "dense"]
    np.savez(place / "samples.npz", arr_0=pictures(COUNT))
    assert invoke(place / "samples.npz", *options).exit_code == 0
    assert (place / "samples.scores.jsonl").is_file()
    targets = [place / "samples.npz", place / "plan"]
    done = invoke(*targets, *options, "--output", place / "all.jsonl", "--table")
    assert done.exit_code == 0, done.output
    assert len((place / "all.jsonl").read_text().splitlines()) == 2
    rows = [line for line in done.output.splitlines() if line.startswith("| /")]
    assert len(rows) == 2
    assert rows[0].split("|")[3] != rows[1].split("|")[3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metrics", "fdref"], "did you mean 'fd_ref'"),
        ([], "metrics: none given"),
        (["--metrics", "fd_ref"], "reference: missing"),
        (["--metrics", "psnr", "--baseline", "nowhere"], "there is nothing"),
    ],
)
def test_refusals(place: Path, arguments: list[str], message: str) -> None:
    done = invoke(place / "dense", *arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert not (place / "dense" / "scores.jsonl").exists()


def test_force_marks_and_says_so(place: Path) -> None:
    write_run(place / "other", pictures(COUNT), seed=50)
    arguments = [place / "plan", "--metrics", "ssim", "--baseline", place / "other"]
    assert invoke(*arguments).exit_code == 2
    done = invoke(*arguments, "--force")
    assert done.exit_code == 0
    assert "forced:" in done.output
    [line] = (place / "plan" / "scores.jsonl").read_text().splitlines()
    assert json.loads(line)["forced"] is True
