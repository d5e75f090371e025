"""A process that makes a set is killed again and again; what it left is whole."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from dit_accel.runs import (
    ClaimBoard,
    ManifestWriter,
    RunFolder,
    image_writer,
    missing,
    pixel_sha256,
    read_image,
    read_manifest,
    unreadable,
)

FORK = multiprocessing.get_context("fork")
COUNT = 240


def _make(run: RunFolder, rank: int, picture, record) -> None:
    writer = image_writer(run)
    with ManifestWriter(run, rank) as manifest, ClaimBoard(run, rank) as board:
        for number, block in enumerate(run.blocks()):
            if not board.claim(number):
                continue
            absent = missing(run, block, read_manifest(run))
            images = {index: picture(index, 24, 24) for index in absent}
            told = []
            for index, (file, member) in writer.write(block, images).items():
                sha256 = pixel_sha256(images[index])
                told.append(record(index, file=file, member=member, sha256=sha256))
            manifest.append(told)
            board.release(number)


@pytest.mark.parametrize("format", ["png", "npz", "webdataset"])
def test_a_set_made_between_kills_is_whole(new_run, picture, record, start_process, format):
    random = np.random.default_rng(5)
    cut_short = 0
    for _ in range(5):
        run = new_run(COUNT, format, block_size=8)
        ranks = [start_process(_make, run, rank, picture, record) for rank in range(2)]
        time.sleep(random.uniform(0.01, 0.06))
        for process in ranks:
            cut_short += process.is_alive()
            os.kill(process.pid, signal.SIGKILL)
        for process in ranks:
            process.join()
        manifest = read_manifest(run)
        assert unreadable(run, manifest.values(), thorough=True) == set()
    assert cut_short

    run = new_run(COUNT, format, block_size=8)
    start_process(_make, run, 0, picture, record).join()
    manifest = read_manifest(run)
    assert set(manifest) == set(range(COUNT))
    assert manifest.conflicts == 0
    for told in manifest.values():
        np.testing.assert_array_equal(read_image(run, told), picture(told.index, 24, 24))
    assert not [name for name in run.path.rglob("*.tmp") if name.is_file()]
