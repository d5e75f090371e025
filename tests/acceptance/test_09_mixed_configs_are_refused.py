"""Acceptance 9: another config in a run folder is refused with a diff; a partial set is no set."""

from __future__ import annotations

from pathlib import Path

import pytest
from sampling_process import files_of, prepared_set, recorded

from dit_accel.runs import RunFolder, RunFolderError, export_adm
from dit_accel.sampling.ranks.shard import Shard
from dit_accel.sampling.ranks.worker import sample_set


def test_another_config_is_refused_with_what_differs(tiny_pipeline: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    sample_set(prepared_set(tiny_pipeline, output), Shard(), say=lambda text: None)
    before = {file: (output / file).stat().st_mtime_ns for file in files_of(output)}
    changes = {"num_inference_steps": 4, "plan": "balanced", "seed": 7, "batch_size": 5}
    other = prepared_set(tiny_pipeline, output, **changes)
    with pytest.raises(RunFolderError) as error:
        sample_set(other, Shard(), say=lambda text: None)
    text = str(error.value)
    assert "num_inference_steps: 3 → 4" in text and "seed: 0 → 7" in text
    assert "plan.cache" in text
    assert "batch_size" not in text and "shard_size" not in text, "they decide no picture"
    assert {file: (output / file).stat().st_mtime_ns for file in files_of(output)} == before


def test_what_decides_no_picture_may_change(tiny_pipeline: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    sample_set(prepared_set(tiny_pipeline, output), Shard(0, 2), steal=False, say=lambda text: None)
    changed = prepared_set(tiny_pipeline, output, batch_size=1, shard_size=2)
    assert sample_set(changed, Shard(), say=lambda text: None).is_complete
    assert len(recorded(output)) == 11


def test_a_partial_set_is_not_taken_for_a_whole_one(tiny_pipeline: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    prepared = prepared_set(tiny_pipeline, output)
    progress = sample_set(prepared, Shard(0, 2), steal=False, say=lambda text: None)
    assert not progress.is_complete and str(progress).endswith("6 of 11 are there")
    with pytest.raises(RunFolderError, match="has 6 of 11 images"):
        export_adm(RunFolder.read(output), tmp_path / "set.npz")
