from __future__ import annotations

import os

import numpy as np
import pytest

from dit_accel.errors import DitAccelError
from dit_accel.runs import ManifestWriter, RunFolderError, UnreadableImage, export_adm, read_adm


def images_of(picture, count: int) -> np.ndarray:
    return np.stack([picture(index) for index in range(count)])


@pytest.mark.parametrize("format", ["png", "npz", "webdataset"])
def test_the_export_holds_every_image_in_order(new_run, fill, picture, tmp_path, format):
    run = new_run(10, format)
    fill(run, {1, 7, 9, 4})
    fill(run, {0, 2, 3, 5, 6, 8})
    assert export_adm(run, tmp_path / "out" / "samples.npz") == 10
    with np.load(tmp_path / "out" / "samples.npz", allow_pickle=False) as archive:
        assert archive.files == ["arr_0", "arr_1"]
        np.testing.assert_array_equal(archive["arr_0"], images_of(picture, 10))
        assert archive["arr_1"].dtype == np.int64
        assert archive["arr_1"].tolist() == list(range(10))


def test_labels_are_left_out_unless_every_image_has_one(new_run, fill, record, tmp_path):
    run = new_run(4)
    records = fill(run)
    with ManifestWriter(run, 1) as manifest:
        file, sha256 = records[2].file, records[2].sha256
        manifest.append([record(2, file=file, sha256=sha256, class_label=None, time=1e9)])
    export_adm(run, tmp_path / "samples.npz")
    with np.load(tmp_path / "samples.npz") as archive:
        assert archive.files == ["arr_0"]
    assert read_adm(tmp_path / "samples.npz").labels is None


def test_a_partial_set_is_refused_unless_allowed(new_run, fill, picture, tmp_path):
    run = new_run(4)
    with pytest.raises(RunFolderError, match="has 0 of 4 images"):
        export_adm(run, tmp_path / "samples.npz", allow_partial=True)
    fill(run, {0, 3})
    with pytest.raises(RunFolderError, match=r"has 2 of 4 images; .* allow a partial set"):
        export_adm(run, tmp_path / "samples.npz")
    assert export_adm(run, tmp_path / "samples.npz", allow_partial=True) == 2
    np.testing.assert_array_equal(
        list(read_adm(tmp_path / "samples.npz")), [picture(0), picture(3)]
    )


def test_an_image_that_is_not_the_recorded_one_is_not_exported(new_run, fill, tmp_path):
    run = new_run(4)
    records = fill(run)
    (run.path / records[2].file).write_bytes((run.path / records[1].file).read_bytes())
    with pytest.raises(UnreadableImage, match=r"image 2 .*another SHA-256"):
        export_adm(run, tmp_path / "samples.npz")
    assert sorted(os.listdir(tmp_path)) == ["run"]


def test_images_of_several_sizes_are_refused_and_leave_no_file(new_run, fill, tmp_path):
    run = new_run(4)
    fill(run, {0, 1, 2})
    fill(run, {3}, height=9, width=9)
    with pytest.raises(DitAccelError, match="image 3 is 9x9, the first one 8x12"):
        export_adm(run, tmp_path / "samples.npz")
    assert sorted(os.listdir(tmp_path)) == ["run"]


@pytest.mark.parametrize("size", [1, 3, 10, 99])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_file_that_numpy_wrote_is_read_in_batches(picture, tmp_path, save, size):
    images = images_of(picture, 10)
    save(tmp_path / "a.npz", images, np.arange(10))
    adm = read_adm(tmp_path / "a.npz")
    assert (len(adm), adm.shape) == (10, (10, 8, 12, 3))
    assert adm.labels.tolist() == list(range(10))
    batches = list(adm.batches(size))
    assert {len(batch) for batch in batches[:-1]} <= {size}
    np.testing.assert_array_equal(np.concatenate(batches), images)
    batches[0][:] = 0  # the caller's own
    np.testing.assert_array_equal(list(adm), images)


def test_what_is_no_adm_file_of_images_is_refused(picture, tmp_path):
    path = tmp_path / "a.npz"
    images = images_of(picture, 4)
    with pytest.raises(DitAccelError, match="No such file"):
        read_adm(path)
    path.write_bytes(b"PNG")
    with pytest.raises(DitAccelError, match="zip"):
        read_adm(path)
    for arrays, text in [
        ({"mu": np.zeros(3), "sigma": np.zeros((3, 3))}, "no array 'arr_0'"),
        ({"arr_0": images / 255}, r"arr_0 is float64 \[4, 8, 12, 3\]"),
        ({"arr_0": np.moveaxis(images, 3, 1)}, r"arr_0 is uint8 \[4, 3, 8, 12\]"),
        ({"arr_0": np.array([{}])}, "arr_0 is object"),
    ]:
        np.savez(path, **arrays)
        with pytest.raises(DitAccelError, match=text):
            read_adm(path)


def test_a_damaged_file_is_told(picture, tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, images_of(picture, 4))
    content = bytearray(path.read_bytes())
    content[600] ^= 1
    path.write_bytes(content)
    with pytest.raises(DitAccelError, match=r"a\.npz: Bad CRC"):
        list(read_adm(path))
