from __future__ import annotations

import json
import os
import tarfile

import numpy as np
import pytest
from PIL import Image

from dit_accel.errors import DitAccelError
from dit_accel.runs import RunFolderError, image_writer, pixel_sha256, read_image

FORMATS = ("png", "npz", "webdataset")


@pytest.mark.parametrize("format", FORMATS)
def test_images_come_back_to_the_bit(new_run, fill, picture, format):
    run = new_run(10, format)
    records = fill(run)
    assert [record.index for record in records] == list(range(10))
    for record in records:
        image = read_image(run, record, thorough=True)
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, picture(record.index))


def test_a_png_is_named_by_its_index_a_thousand_in_a_folder(new_run, picture):
    writer = image_writer(new_run(2_000_000, block_size=2_000_000))
    places = writer.write(range(2_000_000), {i: picture(i) for i in (0, 999, 1000, 1_234_567)})
    assert places == {
        0: ("images/000000/000000.png", None),
        999: ("images/000000/000999.png", None),
        1000: ("images/001000/001000.png", None),
        1_234_567: ("images/1234000/1234567.png", None),
    }


@pytest.mark.parametrize(("format", "suffix"), [("npz", "npz"), ("webdataset", "tar")])
def test_a_block_is_one_shard(new_run, fill, format, suffix):
    run = new_run(10, format)
    fill(run)
    assert sorted(os.listdir(run.images)) == [
        f"000000-000003.{suffix}",
        f"000004-000007.{suffix}",
        f"000008-000009.{suffix}",
    ]
    assert image_writer(run).whole_blocks


@pytest.mark.parametrize("format", FORMATS)
def test_writing_again_writes_the_same_bytes_in_the_same_place(new_run, fill, format):
    run = new_run(10, format)
    fill(run)
    before = {p: p.read_bytes() for p in run.images.rglob("*") if p.is_file()}
    fill(run)
    assert {p: p.read_bytes() for p in run.images.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("format", FORMATS)
def test_the_rest_of_a_block_takes_nothing_away(new_run, fill, picture, format):
    run = new_run(4, format)
    first = fill(run, {0, 3})
    rest = fill(run, {1, 2})
    again = fill(new_run(7, format), {4, 5, 6})
    for record in first + rest + again:
        np.testing.assert_array_equal(read_image(run, record), picture(record.index))


def test_numpy_shards_are_plain_numpy(new_run, fill, picture):
    run = new_run(4, "npz")
    fill(run)
    with np.load(run.images / "000000-000003.npz", allow_pickle=False) as shard:
        assert shard["indices"].tolist() == [0, 1, 2, 3]
        np.testing.assert_array_equal(shard["images"], np.stack([picture(i) for i in range(4)]))


def test_tar_shards_hold_what_is_told_of_each_image(new_run, picture):
    run = new_run(2, "webdataset")
    told = {0: {"seed": 5, "prompt": "ein \U0001f431"}}
    image_writer(run).write(range(2), {0: picture(0), 1: picture(1)}, told)
    with tarfile.open(run.images / "000000-000001.tar") as archive:
        names = ["000000.png", "000000.json", "000001.png", "000001.json"]
        assert archive.getnames() == names
        first = json.load(archive.extractfile("000000.json"))
        assert first == {"index": 0, "seed": 5, "prompt": "ein \U0001f431"}
        assert json.load(archive.extractfile("000001.json")) == {"index": 1}


def test_webdataset_reads_our_shards(new_run, fill, picture):
    webdataset = pytest.importorskip("webdataset", reason="needs the webdataset package")
    run = new_run(4, "webdataset")
    fill(run)
    path = str(run.images / "000000-000003.tar")
    samples = list(webdataset.WebDataset(path, shardshuffle=False).decode("rgb8"))
    assert [sample["__key__"] for sample in samples] == [f"{i:06d}" for i in range(4)]
    for index, sample in enumerate(samples):
        np.testing.assert_array_equal(sample["png"], picture(index))
        assert sample["json"] == {"index": index}


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_no_image_of_the_block_is_refused(new_run, picture, format):
    writer = image_writer(new_run(10, format))
    with pytest.raises(DitAccelError, match="image 4 is not of the block 0–3"):
        writer.write(range(4), {4: picture(4)})
    for wrong in (picture(0).astype(np.float32), picture(0)[..., :1], picture(0)[..., 0]):
        with pytest.raises(DitAccelError, match=r"image 0: got .*, expected uint8"):
            writer.write(range(4), {0: wrong})
    assert writer.write(range(4), {}) == {}


def test_a_numpy_shard_has_images_of_one_size(new_run, picture):
    writer = image_writer(new_run(10, "npz"))
    with pytest.raises(DitAccelError, match=r"sizes 8x12, 9x9.*use format: png"):
        writer.write(range(4), {0: picture(0), 1: picture(1, 9, 9)})


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_leaves_no_cut_off_image(new_run, fill, picture, monkeypatch, format):
    run = new_run(10, format)
    fill(run, {0, 1, 2, 3})
    before = {p: p.read_bytes() for p in run.images.rglob("*") if p.is_file()}
    real = {"png": Image.Image.save, "npz": np.savez, "webdataset": tarfile.TarFile.addfile}

    def full(*arguments: object, **named: object) -> None:
        real[format](*arguments, **named)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full) if format == "png" else None
    monkeypatch.setattr(np, "savez", full)
    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(RunFolderError, match="No space left on device"):
        image_writer(run).write(range(4, 8), {index: picture(index) for index in range(4, 8)})
    monkeypatch.undo()
    assert {p: p.read_bytes() for p in run.images.rglob("*") if p.is_file()} == before


def test_the_hash_is_of_pixels_and_shape(picture):
    image = picture(0)
    assert pixel_sha256(image) == pixel_sha256(np.asfortranarray(image))
    assert pixel_sha256(image) != pixel_sha256(image.reshape(12, 8, 3))
    assert pixel_sha256(image) != pixel_sha256(image ^ np.uint8(1))
