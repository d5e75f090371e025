"""Run folders, pictures and records that the tests of `dit_accel.runs` share."""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dit_accel.runs import ImageRecord, ManifestWriter, RunFolder, image_writer, pixel_sha256


def _picture(index: int, height: int = 8, width: int = 12) -> np.ndarray:
    random = np.random.default_rng(index)
    return random.integers(0, 256, (height, width, 3), dtype=np.uint8)


def _record(index: int, **changes: object) -> ImageRecord:
    record = ImageRecord(
        index=index,
        seed=1000 + index,
        class_label=index % 10,
        prompt=None,
        file=f"images/000000/{index:06d}.png",
        member=None,
        sha256=f"{index:064x}",
        rank=0,
        host="here",
        pid=7,
        batch="0",
        batch_size=4,
        seconds=2.0,
        time=100.0 + index,
    )
    return dataclasses.replace(record, **changes)


@pytest.fixture
def picture() -> Callable[..., np.ndarray]:
    """A function of an index (and a size) to a random image."""
    return _picture


@pytest.fixture
def record() -> Callable[..., ImageRecord]:
    """A function of an index (and changes) to a record."""
    return _record


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., RunFolder]:
    """A function that begins an empty set, or goes on with it."""

    def begin(num_samples: int = 10, format: str = "png", block_size: int = 4) -> RunFolder:
        return RunFolder.create_or_resume(
            tmp_path / "run",
            identity={"num_samples": num_samples, "model": "tiny"},
            settings={"format": format},
            environment={"torch": "2"},
            block_size=block_size,
        )

    return begin


@pytest.fixture
def fill() -> Callable[..., list[ImageRecord]]:
    """A function that writes the images of a run's blocks, and their manifest."""

    def write(run: RunFolder, wanted: set[int] | None = None, **size: int) -> list[ImageRecord]:
        writer, records = image_writer(run), []
        with ManifestWriter(run, 0) as manifest:
            for block in run.blocks():
                chosen = [i for i in block if wanted is None or i in wanted]
                images = {index: _picture(index, **size) for index in chosen}
                for index, (file, member) in writer.write(block, images).items():
                    sha256 = pixel_sha256(images[index])
                    records.append(_record(index, file=file, member=member, sha256=sha256))
            manifest.append(records)
        return records

    return write


@pytest.fixture
def start_process() -> object:
    """Start a function in a real process of its own, and end it with the test.

    Forked, so that it need not import torch again.
    """
    context = multiprocessing.get_context("fork")
    started = []

    def start(function: Callable[..., None], *arguments: object) -> multiprocessing.Process:
        process = context.Process(target=function, args=arguments)
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()
