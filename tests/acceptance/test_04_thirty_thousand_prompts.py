"""Thirty thousand prompts, some twice and some with a slash in them, are thirty thousand files.

Peers that name files by prompt lose images: ToCa's list of 30,003 lines has 29,736 different ones.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from dit_accel.runs import (
    ImageRecord,
    ManifestWriter,
    RunFolder,
    image_writer,
    missing,
    pixel_sha256,
    read_manifest,
)


def prompt_of(index: int) -> str:
    """Every third prompt is the same, and every one has what no file name may have."""
    number = 0 if index % 3 == 0 else index
    return f'../a man/woman {number} with "quotes", a 🐱\nand a second line' + "!" * 300


def picture_of(index: int) -> np.ndarray:
    return np.frombuffer(index.to_bytes(4, "little") * 12, np.uint8).reshape(4, 4, 3)


@pytest.mark.parametrize("count", [3_000, pytest.param(30_000, marks=pytest.mark.slow)])
def test_every_prompt_has_its_file(tmp_path, count):
    run = RunFolder.create_or_resume(
        tmp_path / "run",
        identity={"num_samples": count},
        settings={},
        environment={},
        block_size=1000,
    )
    writer = image_writer(run)
    with ManifestWriter(run, 0) as manifest:
        for block in run.blocks():
            images = {index: picture_of(index) for index in block}
            places = writer.write(block, images)
            manifest.append(_record(i, places[i][0], images[i]) for i in block)

    files = [path for _, _, names in os.walk(run.images) for path in names]
    assert sorted(files) == [f"{index:06d}.png" for index in range(count)]
    assert sorted(os.listdir(run.images)) == [f"{start:06d}" for start in range(0, count, 1000)]
    records = read_manifest(run)
    assert len({record.file for record in records.values()}) == count
    assert all(records[index].prompt == prompt_of(index) for index in range(count))
    assert not any(missing(run, block, records) for block in run.blocks())
    for index in range(0, count, 499):
        with Image.open(run.path / records[index].file) as image:
            np.testing.assert_array_equal(np.array(image), picture_of(index))


def _record(index: int, file: str, image: np.ndarray) -> ImageRecord:
    return ImageRecord(
        index=index,
        seed=index,
        class_label=None,
        prompt=prompt_of(index),
        file=file,
        member=None,
        sha256=pixel_sha256(image),
        rank=0,
        host="here",
        pid=1,
        batch="0",
        batch_size=1000,
        seconds=1.0,
        time=1.0,
    )
