"""A set goes to ADM's ``.npz`` and back without a bit of difference, whatever its own format is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dit_accel.runs import (
    ImageRecord,
    ManifestWriter,
    RunFolder,
    export_adm,
    image_writer,
    pixel_sha256,
    read_adm,
)

COUNT = 70


def fill(path: Path, format: str, images: np.ndarray) -> RunFolder:
    run = RunFolder.create_or_resume(
        path,
        identity={"num_samples": len(images)},
        settings={"format": format},
        environment={},
        block_size=16,
    )
    writer = image_writer(run)
    # Two ranks, neither in order: the file must be in the order of the indices all the same.
    for rank in (1, 0):
        with ManifestWriter(run, rank) as manifest:
            for block in reversed(run.blocks()[rank::2]):
                places = writer.write(block, {index: images[index] for index in block})
                manifest.append(
                    ImageRecord(
                        index=index,
                        seed=index,
                        class_label=index * 7 % 1000,
                        prompt=None,
                        file=file,
                        member=member,
                        sha256=pixel_sha256(images[index]),
                        rank=rank,
                        host="here",
                        pid=1,
                        batch=str(block.start),
                        batch_size=len(block),
                        seconds=1.0,
                        time=1.0,
                    )
                    for index, (file, member) in places.items()
                )
    return run


@pytest.mark.parametrize("format", ["png", "npz", "webdataset"])
def test_images_and_labels_come_back_in_order(tmp_path, format):
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 16, 20, 3), dtype=np.uint8)
    run = fill(tmp_path / "run", format, images)
    export_adm(run, tmp_path / "samples.npz")

    with np.load(tmp_path / "samples.npz", allow_pickle=False) as archive:  # as ADM reads it
        np.testing.assert_array_equal(archive["arr_0"], images)
        np.testing.assert_array_equal(archive["arr_1"], np.arange(COUNT) * 7 % 1000)
    back = read_adm(tmp_path / "samples.npz")
    assert back.shape == images.shape
    np.testing.assert_array_equal(np.concatenate(list(back.batches(32))), images)

    # And in again: a set made of what was read is exported to the same bytes.
    again = fill(tmp_path / "again", format, np.concatenate(list(back.batches(9))))
    export_adm(again, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "samples.npz").read_bytes()
