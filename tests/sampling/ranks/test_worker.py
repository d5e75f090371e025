"""One rank's loop, with a sampler that paints the index in place of a model."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampling_process import files_of, images_of, prepared_set, recorded

from dit_accel.errors import DitAccelError
from dit_accel.runs import ClaimBoard, ManifestWriter, RunFolder, RunFolderError, formats
from dit_accel.sampling.generate import BatchTiming, Sample
from dit_accel.sampling.preparing import PreparedSampling
from dit_accel.sampling.ranks import block_making, worker
from dit_accel.sampling.ranks.open_blocks import share_first
from dit_accel.sampling.ranks.recording import ImageRecorder
from dit_accel.sampling.ranks.shard import Shard
from dit_accel.sampling.ranks.worker import SamplingError, open_run_folder, sample_set
from dit_accel.sampling.specs import SampleSpec


class Painter:
    """Stands in for ``ready_pipeline`` and ``generate``."""

    def __init__(self) -> None:
        self.loaded = 0
        self.batches: list[list[int]] = []
        self.most = 100  # images that fit into memory
        self.after_batch: Callable[[], None] = lambda: None

    def load(self, prepared: PreparedSampling, device: object) -> None:
        self.loaded += 1

    def generate(
        self, pipe: None, specs: Sequence[SampleSpec], *, batch_size: int, **_: Any
    ) -> Iterator[Sample]:
        size = min(batch_size, self.most)
        for start in range(0, len(specs), size):
            batch = specs[start : start + size]
            self.batches.append([spec.index for spec in batch])
            timing = BatchTiming(uuid.uuid4().hex, len(batch), 0.5)
            self.after_batch()
            for spec in batch:
                yield Sample(spec, np.full((8, 8, 3), spec.index, np.uint8), timing)


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> Painter:
    painter = Painter()
    monkeypatch.setattr(block_making, "ready_pipeline", painter.load)
    monkeypatch.setattr(block_making, "generate", painter.generate)
    return painter


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def prepared(tiny_pipeline: Path, output: Path, painter: Painter) -> PreparedSampling:
    """Eleven images in blocks of three: 0-2, 3-5, 6-8, 9-10."""
    return prepared_set(tiny_pipeline, output)


def assert_painted(output: Path, indices: Sequence[int] = range(11)) -> None:
    images = images_of(output)
    assert list(images) == list(indices)
    assert all((image == index).all() for index, image in images.items())


def test_makes_the_set_and_then_finds_it_made(
    prepared: PreparedSampling, output: Path, painter: Painter, said: list[str]
) -> None:
    first = sample_set(prepared, Shard(), say=said.append)
    assert (first.made, first.complete, first.exit_code) == (11, 11, 0) and first.is_complete
    assert painter.batches == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10]]
    assert said == [f"{output}: 0 of 11 images are there"]
    second = sample_set(prepared, Shard(), say=said.append)
    assert second.made == 0 and second.is_complete
    assert painter.loaded == 1, "a model was loaded although nothing is missing"
    assert_painted(output)
    line = json.loads(recorded(output)[4])
    assert (line["index"], line["seed"], line["batch_size"], line["seconds"]) == (4, 4, 3, 0.5)
    assert line["rank"] == 0 and line["file"] == "images/000000/000004.png"
    assert not list((output / "claims").glob("*.json"))


def test_own_share_first_then_the_others_from_the_end(
    prepared: PreparedSampling, painter: Painter, said: list[str]
) -> None:
    assert sample_set(prepared, Shard(1, 2), say=said.append).is_complete
    assert [batch[0] for batch in painter.batches] == [3, 9, 6, 0]


def test_without_stealing_only_the_own_share(
    prepared: PreparedSampling, output: Path, said: list[str]
) -> None:
    progress = sample_set(prepared, Shard(1, 2), steal=False, say=said.append)
    assert (progress.made, progress.complete) == (5, 5)
    assert_painted(output, [3, 4, 5, 9, 10])
    assert said[0].startswith("rank 1/2: ")


@given(st.integers(0, 60), st.integers(1, 9))
def test_shares_part_the_blocks_and_every_order_has_all(blocks: int, world: int) -> None:
    orders = [share_first(blocks, Shard(rank, world)) for rank in range(world)]
    assert all(sorted(order) == list(range(blocks)) for order in orders)
    shares = [order[: len(range(rank, blocks, world))] for rank, order in enumerate(orders)]
    assert sorted(block for share in shares for block in share) == list(range(blocks))


def test_makes_only_what_is_missing(
    prepared: PreparedSampling, output: Path, painter: Painter, said: list[str]
) -> None:
    sample_set(prepared, Shard(), say=said.append)
    (output / "images/000000/000004.png").write_bytes(b"no picture")
    (output / "images/000000/000009.png").unlink()
    painter.batches.clear()
    sample_set(prepared, Shard(), say=said.append)
    assert painter.batches == [[4], [9]]
    assert "2 of them unreadable and made again" in said[-1]
    assert_painted(output)


def test_deterministic_sets_sample_whole_batches_and_write_what_is_missing(
    tiny_pipeline: Path, output: Path, painter: Painter, said: list[str]
) -> None:
    prepared = prepared_set(tiny_pipeline, output, deterministic=True, batch_size=2, shard_size=6)
    sample_set(prepared, Shard(), say=said.append)
    times = {file: (output / file).stat().st_mtime_ns for file in files_of(output)}
    lost = "images/000000/000009.png"
    (output / lost).unlink()
    painter.batches.clear()
    sample_set(prepared, Shard(), say=said.append)
    assert painter.batches == [[8, 9]]
    changed = [f for f in times if (output / f).stat().st_mtime_ns != times[f]]
    assert changed == [lost]


def test_a_smaller_batch_that_memory_asked_for_stays(
    tiny_pipeline: Path, output: Path, painter: Painter, said: list[str]
) -> None:
    prepared = prepared_set(tiny_pipeline, output, batch_size=8, shard_size=8, num_samples=20)
    asked, generate = [], painter.generate

    def fits(*arguments: Any, batch_size: int, **named: Any) -> Iterator[Sample]:
        asked.append(batch_size)
        return generate(*arguments, batch_size=batch_size, **named)

    painter.most = 4
    block_making.generate = fits  # put back by the fixture's monkeypatch
    sample_set(prepared, Shard(), say=said.append)
    assert asked == [8, 4, 4], "each block would run out of memory anew"
    assert {len(batch) for batch in painter.batches} == {4}


@pytest.mark.parametrize(("format", "suffix"), [("npz", "npz"), ("webdataset", "tar")])
def test_formats_of_whole_blocks_get_one_file_a_block(
    tiny_pipeline: Path, output: Path, painter: Painter, said: list[str], format: str, suffix: str
) -> None:
    prepared = prepared_set(tiny_pipeline, output, format=format, batch_size=2, shard_size=6)
    sample_set(prepared, Shard(), say=said.append)
    assert files_of(output) == [f"images/000000-000005.{suffix}", f"images/000006-000010.{suffix}"]
    assert_painted(output)


def test_observers_see_every_block_whole_and_before_it_is_let_go(
    prepared: PreparedSampling, output: Path, said: list[str]
) -> None:
    sample_set(prepared, Shard(), say=said.append)
    for index in (3, 5):  # so that image 4 has to be read back
        (output / f"images/000000/{index:06d}.png").unlink()
    seen: list[tuple[range, list[int], bool]] = []

    def observe(block: range, images: dict[int, np.ndarray]) -> None:
        assert all((image == index).all() for index, image in images.items())
        held = (output / "claims/000001.json").exists()
        seen.append((block, list(images), held))

    sample_set(prepared, Shard(), observers=[observe], say=said.append)
    assert seen == [(range(3, 6), [3, 4, 5], True)]


def test_a_claim_of_a_live_process_is_waited_for_and_its_images_are_not_made_again(
    prepared: PreparedSampling, output: Path, painter: Painter, said: list[str]
) -> None:
    folder = open_run_folder(prepared)
    other = ClaimBoard(folder, 1)
    assert other.claim(3)
    painter.after_batch = lambda: other.release(3) if len(painter.batches) == 3 else None
    assert sample_set(prepared, Shard(), say=said.append).is_complete
    assert [batch[0] for batch in painter.batches] == [0, 3, 6, 9]
    other.close()


def test_who_is_waited_for_is_said(
    prepared: PreparedSampling, output: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_POLL_SECONDS", 0.01)
    other = ClaimBoard(open_run_folder(prepared), 1)
    assert other.claim(3)

    def say(text: str) -> None:
        said.append(text)
        if text.startswith("waiting for"):
            other.release(3)

    assert sample_set(prepared, Shard(), say=say).is_complete
    who = f"rank 1 (process {os.getpid()} on {socket.gethostname()})"
    assert said[-1] == f"waiting for what others have in hand: block 3: {who}"
    other.close()


def test_of_two_processes_the_one_whose_file_came_last_is_recorded(
    prepared: PreparedSampling, output: Path
) -> None:
    """A process that is suspended with a batch in hand writes it after the one that took over."""
    folder, timing = open_run_folder(prepared), BatchTiming("0", 1, 0.5)
    suspended, other = (
        Sample(prepared.specs[0], np.full((8, 8, 3), grey, np.uint8), timing) for grey in (1, 2)
    )
    with ManifestWriter(folder, 0) as first, ManifestWriter(folder, 1) as second:
        ImageRecorder(folder, second, 1).record(range(3), [other])
        ImageRecorder(folder, first, 0).record(range(3), [suspended])
    assert (images_of(output)[0] == 1).all()


def test_a_second_process_on_the_same_rank_is_told(
    prepared: PreparedSampling, output: Path, said: list[str]
) -> None:
    with ManifestWriter(open_run_folder(prepared), 0):
        sample_set(prepared, Shard(), say=said.append)
    assert "rank 0 is in use by another process" in said[0]
    assert_painted(output)
    assert (output / "manifest/rank-000-2.jsonl").is_file()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_after_the_batch_in_hand(
    prepared: PreparedSampling, output: Path, painter: Painter, said: list[str], number: int
) -> None:
    def interrupt() -> None:
        if len(painter.batches) == 2:
            signal.raise_signal(number)

    painter.after_batch = interrupt
    progress = sample_set(prepared, Shard(), say=said.append)
    assert progress.exit_code == 128 + number and progress.complete == 6
    assert_painted(output, range(6))
    assert not list((output / "claims").glob("*.json")), "others would wait for nobody"


def test_a_signal_keeps_a_part_of_a_shard(
    tiny_pipeline: Path, output: Path, painter: Painter, said: list[str]
) -> None:
    prepared = prepared_set(tiny_pipeline, output, format="npz", batch_size=2, shard_size=6)
    painter.after_batch = lambda: signal.raise_signal(signal.SIGINT)
    assert sample_set(prepared, Shard(), say=said.append).complete == 2
    painter.after_batch = lambda: None
    assert sample_set(prepared, Shard(), say=said.append).is_complete
    assert_painted(output)


def test_a_signal_while_the_model_is_loaded_ends_before_the_first_batch(
    prepared: PreparedSampling, painter: Painter, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        block_making, "ready_pipeline", lambda *_: signal.raise_signal(signal.SIGTERM)
    )
    progress = sample_set(prepared, Shard(), say=said.append)
    assert (progress.exit_code, progress.made, painter.batches) == (143, 0, [])


def test_an_error_of_the_sampler_keeps_a_part_of_a_shard(
    tiny_pipeline: Path, output: Path, painter: Painter, said: list[str]
) -> None:
    def fail() -> None:
        if len(painter.batches) == 3:
            raise DitAccelError("out of memory")

    prepared = prepared_set(tiny_pipeline, output, format="npz", batch_size=2, shard_size=6)
    painter.after_batch = fail
    with pytest.raises(SamplingError, match="out of memory"):
        sample_set(prepared, Shard(), say=said.append)
    assert_painted(output, range(4))


def test_a_full_disk_ends_the_rank_and_loses_nothing(
    prepared: PreparedSampling, output: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save = formats._save_png

    def full(image: np.ndarray, file: Any) -> None:
        if image[0, 0, 0] == 7:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(image, file)

    monkeypatch.setattr(formats, "_save_png", full)
    with pytest.raises(SamplingError, match=r"000007.png: No space left.*run the same command"):
        sample_set(prepared, Shard(), say=said.append)
    assert_painted(output, [0, 1, 2, 3, 4, 5, 6, 8])
    assert not list((output / "claims").glob("*.json"))
    monkeypatch.setattr(formats, "_save_png", save)
    assert sample_set(prepared, Shard(), say=said.append).is_complete
    assert_painted(output)


def test_an_error_of_the_sampler_keeps_the_batches_before_it(
    prepared: PreparedSampling, output: Path, painter: Painter, said: list[str]
) -> None:
    def fail() -> None:
        if len(painter.batches) == 3:
            raise RuntimeError("the device is gone")

    painter.after_batch = fail
    with pytest.raises(RuntimeError, match="the device is gone"):
        sample_set(prepared, Shard(), say=said.append)
    assert_painted(output, range(6))


def test_an_observers_error_ends_the_rank(prepared: PreparedSampling, said: list[str]) -> None:
    def observe(block: range, images: dict[int, np.ndarray]) -> None:
        raise RuntimeError("no features")

    with pytest.raises(RuntimeError, match="no features"):
        sample_set(prepared, Shard(), observers=[observe], say=said.append)


def test_another_set_is_refused_before_anything_happens(
    prepared: PreparedSampling, tiny_pipeline: Path, output: Path, painter: Painter
) -> None:
    open_run_folder(prepared)
    with pytest.raises(RunFolderError, match="seed: 0 → 1"):
        sample_set(prepared_set(tiny_pipeline, output, seed=1), Shard())
    assert painter.loaded == 0 and not recorded(output)


def test_ranks_of_one_launch_share_one_environment(
    prepared: PreparedSampling, tiny_pipeline: Path, output: Path
) -> None:
    open_run_folder(prepared)
    assert open_run_folder(prepared_set(tiny_pipeline, output)).notices == []
    assert "versions" in json.loads(RunFolder.read(output).environment.read_text())
