from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dit_accel.runs import (
    UnreadableImage,
    image_writer,
    missing,
    pixel_sha256,
    read_image,
    read_manifest,
    unreadable,
)

SHARDS = ("npz", "webdataset")


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


def test_whatever_is_cut_off_a_png_is_noticed(new_run, fill):
    run = new_run(4)
    records = fill(run, {1, 2})
    path = run.path / records[0].file
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 5), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert unreadable(run, records, workers=1) == {1}
        with pytest.raises(UnreadableImage, match=r"image 1 cannot be read from .*000001\.png"):
            read_image(run, records[0])


def test_a_missing_file_is_noticed(new_run, fill):
    run = new_run(4)
    records = fill(run)
    (run.path / records[2].file).unlink()
    assert unreadable(run, records) == {2}
    assert missing(run, range(4), read_manifest(run)) == [2]


def test_a_block_misses_what_has_no_record_or_no_file(new_run, fill):
    run = new_run(10, "npz")
    records = fill(run, {0, 1, 4, 5, 6, 7})
    manifest = read_manifest(run)
    assert [missing(run, block, manifest) for block in run.blocks()] == [[2, 3], [], [8, 9]]
    (run.path / records[2].file).unlink()
    assert missing(run, range(4, 8), manifest) == [4, 5, 6, 7]


def test_another_picture_is_noticed_if_looked_at_thoroughly(new_run, fill, picture):
    run = new_run(4)
    records = fill(run)
    Image.fromarray(picture(77)).save(run.path / records[3].file)
    assert unreadable(run, records) == set()
    assert unreadable(run, records, thorough=True) == {3}
    with pytest.raises(UnreadableImage, match="another SHA-256"):
        read_image(run, records[3], thorough=True)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_a_png_of_another_kind_is_noticed(new_run, fill, mode):
    run = new_run(1)
    records = fill(run)
    Image.new(mode, (12, 8)).save(run.path / records[0].file)
    assert unreadable(run, records) == {0}


@pytest.mark.parametrize("format", SHARDS)
def test_a_shard_that_is_cut_off_is_noticed(new_run, fill, format):
    run = new_run(8, format)
    records = fill(run)
    path = run.path / records[0].file
    whole = path.read_bytes()
    # A tar ends with two empty records of 512 bytes and padding that nobody misses.
    last = whole.rindex(b"}") if format == "webdataset" else len(whole) - 1
    for length in range(0, last, 97):
        path.write_bytes(whole[:length])
        found = unreadable(run, records)
        assert found <= {0, 1, 2, 3}
        assert found or length > whole.rindex(b"IEND")
    path.unlink()
    assert unreadable(run, records) == {0, 1, 2, 3}


def test_a_flipped_bit_in_a_numpy_shard_is_noticed(new_run, fill):
    run = new_run(8, "npz")
    records = fill(run)
    flip(run.path / records[0].file, 500)
    assert unreadable(run, records) == {0, 1, 2, 3}


@pytest.mark.parametrize("place", [4, 6, 8])  # version needed, flags, compression
def test_a_flipped_bit_in_a_zip_header_is_noticed(new_run, fill, place):
    run = new_run(8, "npz")
    records = fill(run)
    path = run.path / records[0].file
    flip(path, path.read_bytes().index(b"PK\x01\x02") + 2 + place)
    assert unreadable(run, records) == {0, 1, 2, 3}


def test_a_flipped_bit_in_a_tar_shard_costs_its_image_alone(new_run, fill, picture):
    run = new_run(4, "webdataset")
    records = fill(run)
    path = run.path / records[1].file
    content = path.read_bytes()
    second = content.index(b"IDAT", content.index(b"000001.png"))
    flip(path, second + 60)
    assert unreadable(run, records, thorough=True) == {1}
    repaired = fill(run, {1})
    assert repaired[0].file != records[1].file
    assert unreadable(run, [records[0], *repaired, *records[2:]], thorough=True) == set()


def test_a_shard_that_was_replaced_is_read_anew(new_run, fill, picture):
    run = new_run(4, "npz")
    records = fill(run)
    read_image(run, records[0])
    other = {index: picture(index + 50) for index in range(4)}
    image_writer(run).write(range(4), other)
    np.testing.assert_array_equal(read_image(run, records[0]), other[0])


@pytest.mark.parametrize("format", SHARDS)
def test_a_record_of_an_entry_that_is_not_there_is_noticed(new_run, fill, format):
    run = new_run(4, format)
    record = fill(run)[0]
    for member in ("9", "1", "000009.png", "-1", "x"):
        wrong = dataclasses.replace(record, member=member)
        assert unreadable(run, [wrong]) == {0}


def test_arrays_that_are_no_images_are_noticed(new_run, fill):
    run = new_run(4, "npz")
    records = fill(run)
    path = run.path / records[0].file
    indices, images = np.arange(4), np.zeros((4, 2, 2, 3), np.uint8)
    for save, arrays in [
        (np.savez, {"images": images.astype(np.float32), "indices": indices}),
        (np.savez, {"images": images[:3], "indices": indices}),
        (np.savez, {"images": images[0], "indices": indices}),
        (np.savez, {"images": images[..., :2], "indices": indices}),
        (np.savez, {"indices": indices}),
        (np.savez, {"images": images, "indices": np.array([{}] * 4)}),
        (np.savez_compressed, {"images": images, "indices": indices}),
    ]:
        save(path, **arrays)
        assert unreadable(run, records) == {0, 1, 2, 3}
    np.savez(path, images=images, indices=indices)
    assert unreadable(run, records) == set()
    assert pixel_sha256(read_image(run, records[0])) == pixel_sha256(images[0])
