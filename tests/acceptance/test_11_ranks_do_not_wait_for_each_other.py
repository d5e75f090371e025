"""Acceptance 11: a rank that finishes early does not hang; a dead rank's work is taken over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from sampling_process import (
    files_of,
    images_of,
    join,
    logs,
    prepared_set,
    recorded,
    running,
    wait_until,
)

from dit_accel.sampling.ranks.shard import Shard, current_shard
from dit_accel.sampling.ranks.worker import sample_set

ROOT = Path(__file__).resolve().parents[2]


def of_rank(output: Path, rank: int) -> int:
    return sum(json.loads(line)["rank"] == rank for line in recorded(output))


def test_a_rank_ends_although_the_others_never_started(
    tiny_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *_, **__: pytest.fail())
    prepared = prepared_set(tiny_pipeline, tmp_path / "run")
    progress = sample_set(prepared, current_shard(), steal=False, say=lambda text: None)
    assert (progress.made, progress.complete, progress.num_samples) == (3, 3, 11)
    assert list(images_of(tmp_path / "run")) == [3, 4, 5]
    assert not torch.distributed.is_initialized()


def test_a_rank_that_is_done_does_the_work_of_one_that_never_came(
    tiny_pipeline: Path, tmp_path: Path
) -> None:
    prepared = prepared_set(tiny_pipeline, tmp_path / "run")
    progress = sample_set(prepared, Shard(2, 3), say=lambda text: None)
    assert progress.is_complete and progress.made == 11


def test_the_work_of_a_killed_rank_is_taken_over_at_once(
    tiny_pipeline: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    prepared = prepared_set(
        tiny_pipeline, output, num_samples=24, batch_size=1, shard_size=12, num_inference_steps=10
    )
    with running(prepared, 2, [0, 1]) as ranks:
        wait_until(lambda: of_rank(output, 1) >= 1)
        ranks[1].kill()
        start = time.monotonic()
        assert join(ranks) == [0, -9]
    assert time.monotonic() - start < 60, "waited for the lease of a claim whose process is dead"
    assert "block 1 taken over from rank 1" in logs(prepared)
    assert list(images_of(output)) == list(range(24))
    assert 1 <= of_rank(output, 1) < 12 and of_rank(output, 0) + of_rank(output, 1) == 24
    assert not list(output.glob("claims/*.json"))


@pytest.mark.slow
def test_torchrun_starts_ranks_that_share_nothing_but_the_folder(
    tiny_pipeline: Path, tmp_path: Path
) -> None:
    config = tmp_path / "set.yaml"
    config.write_text(
        f"model: {tiny_pipeline}\nnum_inference_steps: 3\nnum_samples: 9\nbatch_size: 2\n"
        f"shard_size: 2\ndata: {{labels: uniform}}\noutput: {tmp_path / 'run'}\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "--master-port", "0", "scripts/sample.py", str(config), "--no-steal"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert len(files_of(tmp_path / "run")) == len(recorded(tmp_path / "run")) == 9
    assert (of_rank(tmp_path / "run", 0), of_rank(tmp_path / "run", 1)) == (5, 4)
    assert "9 of 9 images" in done.stdout + done.stderr or "rank 1/2: made 4" in done.stderr
