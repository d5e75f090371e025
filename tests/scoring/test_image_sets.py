"""Runs, folders and ADM files as sets of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scored_runs import pictures, write_run

from dit_accel.errors import DitAccelError
from dit_accel.runs import RunFolder
from dit_accel.scoring.image_sets import FirstImages, FolderImages, NpzImages, RunImages
from dit_accel.scoring.opening import open_image_set


def save(path: Path, pixels: np.ndarray, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)


def test_a_run_gives_its_images_by_index(tmp_path: Path) -> None:
    expected = pictures(11)
    images = RunImages(write_run(tmp_path / "run", expected))
    assert (len(images), images.expected) == (11, 11)
    np.testing.assert_array_equal(np.stack(list(images.images())), expected)


def test_a_partial_run_gives_what_is_there(tmp_path: Path) -> None:
    expected = pictures(12)
    images = RunImages(write_run(tmp_path / "run", expected, present=[1, 4, 9]))
    assert (len(images), images.expected) == (3, 12)
    np.testing.assert_array_equal(np.stack(list(images.images())), expected[[1, 4, 9]])


def test_an_empty_run_is_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", pictures(4), present=[])
    with pytest.raises(DitAccelError, match="no image is in the manifest"):
        RunImages(folder)


def test_every_unreadable_image_of_a_run_is_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", pictures(12))
    (folder.images / "000000" / "000003.png").write_bytes(b"cut off")
    other = Image.fromarray(pictures(1, seed=9)[0])
    other.save(folder.images / "000000" / "000007.png")  # readable, but another picture
    with pytest.raises(DitAccelError, match=r"images 3, 7 cannot be read.*sample"):
        list(RunImages(folder).images())


def test_the_fingerprint_of_a_run_is_that_of_its_pixels(tmp_path: Path) -> None:
    one = RunImages(write_run(tmp_path / "one", pictures(5), block_size=2, plan="a"))
    same = RunImages(write_run(tmp_path / "same", pictures(5), block_size=8, plan="b"))
    other = RunImages(write_run(tmp_path / "other", pictures(5, seed=1)))
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_a_folder_counts_each_file_once_whatever_the_case_of_its_ending(tmp_path: Path) -> None:
    every = pictures(4)
    names = ["b/2.PNG", "a/1.png", "b/1.webp", "a/2.JPG"]
    for name, pixels in zip(names, every, strict=True):
        save(tmp_path / name, pixels)
    (tmp_path / "notes.txt").write_text("no picture")
    images = FolderImages(tmp_path)
    found = [file.relative_to(tmp_path).as_posix() for file in images.files]
    assert found == ["a/1.png", "a/2.JPG", "b/1.webp", "b/2.PNG"]
    np.testing.assert_array_equal(next(images.images()), every[1])


def test_pictures_of_a_folder_become_rgb_of_the_size(tmp_path: Path) -> None:
    save(tmp_path / "grey.png", pictures(1, size=40)[0], "L")
    save(tmp_path / "alpha.png", pictures(1, size=24)[0], "RGBA")
    save(tmp_path / "palette.png", pictures(1, size=33)[0], "P")
    shapes = {image.shape for image in FolderImages(tmp_path, size=12).images()}
    assert shapes == {(12, 12, 3)}
    whole, cropped = FolderImages(tmp_path), FolderImages(tmp_path, size=12)
    assert whole.fingerprint != cropped.fingerprint


def test_unreadable_pictures_of_a_folder_are_named(tmp_path: Path) -> None:
    for number, pixels in enumerate(pictures(4)):
        save(tmp_path / f"{number}.png", pixels)
    (tmp_path / "1.png").write_bytes(b"\x89PNG but no more")
    (tmp_path / "3.png").write_bytes(b"")
    with pytest.raises(DitAccelError, match=r"images 1\.png, 3\.png cannot be read"):
        list(FolderImages(tmp_path).images())


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DitAccelError, match="no run and no pictures"):
        open_image_set(tmp_path)


def test_an_adm_file(tmp_path: Path) -> None:
    expected = pictures(70)
    np.savez(tmp_path / "samples.npz", arr_0=expected)
    images = NpzImages(tmp_path / "samples.npz")
    assert len(images) == 70
    np.testing.assert_array_equal(np.stack(list(images.images())), expected)


def test_the_first_images(tmp_path: Path) -> None:
    whole = RunImages(write_run(tmp_path / "run", pictures(9)))
    first = FirstImages(whole, 4)
    np.testing.assert_array_equal(np.stack(list(first.images())), pictures(9)[:4])
    assert (len(first), first.expected) == (4, 4)
    assert first.fingerprint != whole.fingerprint
    with pytest.raises(DitAccelError, match="at most 9"):
        FirstImages(whole, 10)


def test_what_is_found_at_a_path(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", pictures(3))
    assert isinstance(open_image_set(folder.path), RunImages)
    assert isinstance(RunFolder.read(folder.path), RunFolder)
    with pytest.raises(DitAccelError, match="size: got 8"):
        open_image_set(folder.path, size=8)
    with pytest.raises(DitAccelError, match="check the path"):
        open_image_set(tmp_path / "nothing")


def test_photographs_that_come_with_the_package(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    photos = open_image_set("photos", num=3, size=16)
    found = np.stack(list(photos.images()))
    assert (found.shape, found.dtype) == ((3, 16, 16, 3), np.uint8)
    again = open_image_set("photos", num=3, size=16)
    assert again.fingerprint == photos.fingerprint
    np.testing.assert_array_equal(np.stack(list(again.images())), found)
