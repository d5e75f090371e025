"""A number of an unfinished set says so, wherever it is shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scored_runs import TinyExtractor, pictures, write_run

from dit_accel.errors import DitAccelError
from dit_accel.scoring.records import append_records, read_records, scores_path
from dit_accel.scoring.score import score
from dit_accel.scoring.table import score_table

COUNT, MADE = 32, 25


def test_refused_unless_asked_for_and_then_labelled(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", pictures(COUNT), present=range(MADE))
    np.savez(tmp_path / "real.npz", arr_0=pictures(40, seed=1))
    options = {"reference": tmp_path / "real.npz", "extractors": {"ref": TinyExtractor()}}
    with pytest.raises(DitAccelError, match=f"{MADE} of {COUNT} images"):
        score(run.path, ["fd_ref", "prdc_ref"], **options)

    records = score(run.path, ["fd_ref", "prdc_ref"], allow_partial=True, **options)
    path = scores_path(run.path)
    append_records(path, records)
    for line in path.read_text().splitlines():
        written = json.loads(line)
        assert written["complete"] is False
        assert f"partial: {MADE} of {COUNT}" in written["label"]
    assert "25 (partial)" in score_table({"run": read_records(path)})


def test_a_finished_set_is_not_called_partial(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", pictures(COUNT))
    np.savez(tmp_path / "real.npz", arr_0=pictures(40, seed=1))
    [record] = score(
        run.path,
        ["fd_ref"],
        reference=tmp_path / "real.npz",
        extractors={"ref": TinyExtractor()},
    )
    assert record.complete
    assert record.label == f"FD-ref (N={COUNT})"
