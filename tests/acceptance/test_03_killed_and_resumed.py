"""Acceptance 3: kill -9 mid-run, resume with another world size: same set, nothing twice or cut."""

from __future__ import annotations

from pathlib import Path

import pytest
from sampling_process import (
    assert_same_images,
    files_of,
    images_of,
    join,
    logs,
    prepared_set,
    recorded,
    running,
    wait_until,
)

from dit_accel.sampling.ranks.shard import Shard
from dit_accel.sampling.ranks.worker import sample_set

SET = {"num_samples": 26, "batch_size": 1, "shard_size": 4, "num_inference_steps": 10}


@pytest.fixture(scope="module")
def undisturbed(tiny_pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "run"
    sample_set(prepared_set(tiny_pipeline, output, **SET), Shard(), say=lambda text: None)
    return output


def test_two_killed_ranks_are_resumed_by_three(
    tiny_pipeline: Path, tmp_path: Path, undisturbed: Path
) -> None:
    output = tmp_path / "run"
    prepared = prepared_set(tiny_pipeline, output, **SET)
    with running(prepared, 2, [0, 1]) as ranks:
        wait_until(lambda: len(recorded(output)) >= 5)
        for rank in ranks:
            rank.kill()
        assert join(ranks) == [-9, -9]
    there = recorded(output)
    assert 5 <= len(there) < SET["num_samples"], "killed too late to show anything"
    finished = [file for file in files_of(output) if not file.endswith(".tmp")]
    times = {file: (output / file).stat().st_mtime_ns for file in finished}

    with running(prepared_set(tiny_pipeline, output, **SET | {"batch_size": 3}), 3, range(3)) as r:
        assert join(r) == [0, 0, 0], logs(prepared)
    assert files_of(output) == files_of(undisturbed)
    assert_same_images(images_of(output), images_of(undisturbed))
    assert set(there) <= set(recorded(output)), "a record was lost"
    assert len(recorded(output)) == SET["num_samples"], "an image was made twice"
    assert not list(output.rglob("*.tmp")), "a killed process left half a file"
    # At most the batch that each rank had in hand was replaced.
    changed = [f for f, time in times.items() if (output / f).stat().st_mtime_ns != time]
    assert len(changed) <= len(times) - len(there)


def test_damage_is_found_told_and_mended(
    tiny_pipeline: Path, tmp_path: Path, undisturbed: Path
) -> None:
    output, said = tmp_path / "run", []
    prepared = prepared_set(tiny_pipeline, output, **SET)
    sample_set(prepared, Shard(), say=said.append)
    cut, gone, other = (output / f"images/000000/{index:06d}.png" for index in (3, 9, 20))
    cut.write_bytes(cut.read_bytes()[:100])
    gone.unlink()
    other.write_bytes((output / "images/000000/000021.png").read_bytes())
    with (output / "manifest/rank-000.jsonl").open("a") as manifest:
        manifest.write('{"index": 3, "se')

    said.clear()
    with running(prepared, 2, [0, 1]) as ranks:
        assert join(ranks) == [0, 0]
    assert_same_images(images_of(output), images_of(undisturbed))
    told = logs(prepared)
    assert "unreadable and made again" in told
    assert "1 half-written line of the manifest ignored" in told
    # 26 lines, 3 made again, and the half-written one, which was ended but not removed.
    assert len(recorded(output)) == SET["num_samples"] + 4
