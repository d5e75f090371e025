"""Lines of scores.jsonl: strict JSON, appended whole, newest first among equals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from score_records import record

from dit_accel.errors import DitAccelError
from dit_accel.scoring.records import (
    ScoreRecord,
    append_records,
    newest,
    read_records,
    scores_path,
)


def test_a_record_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "scores.jsonl"
    records = [record("fd_ref", 1.5), record("psnr", None, interval=None)]
    append_records(path, records[:1])
    append_records(path, records[1:])
    assert read_records(path) == records
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_half_written_line_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    append_records(path, [record("fd_ref", 1.0)])
    with path.open("a") as stream:
        stream.write('{"metric": "kid_r')
    append_records(path, [record("fd_ref", 2.0)])
    assert [found.value for found in read_records(path)] == [1.0, 2.0]


def test_the_newest_of_equals_counts() -> None:
    first, second = record("fd_ref", 1.0), record("fd_ref", 2.0)
    other_n = record("fd_ref", 3.0, n=99)
    other_reference = replace(first, reference={"name": "r", "sha256": "1" * 64, "n": 5})
    other_extractor = replace(first, extractor={"name": "other", "sha256": "2" * 64})
    found = newest([first, other_n, other_reference, other_extractor, second])
    assert found == [second, other_n, other_reference, other_extractor]


def test_what_is_no_record_is_refused() -> None:
    for line in ("", "[]", "{}", '{"metric": "fid"}', record("fid", 1.0).to_json()[:-5]):
        with pytest.raises(DitAccelError, match="not a score record"):
            ScoreRecord.from_json(line)


def test_where_scores_belong(tmp_path: Path) -> None:
    assert scores_path(tmp_path) == tmp_path / "scores.jsonl"
    assert scores_path(tmp_path / "a.npz") == tmp_path / "a.scores.jsonl"
    assert scores_path(tmp_path, Path("other.jsonl")) == Path("other.jsonl")


def test_no_scores_yet(tmp_path: Path) -> None:
    assert read_records(tmp_path / "scores.jsonl") == []
