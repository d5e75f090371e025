"""Arrays that several processes fill, and that a kill or a longer set does not cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dit_accel.adaptation.array_folder import ArrayFolder
from dit_accel.errors import DitAccelError

VALUES = {
    "states": np.random.default_rng(0).normal(size=(10, 3, 2, 4)).astype(np.float16),
    "counts": np.arange(10),
}


def folder(path: Path, total: int = 10, identity: str = "a") -> ArrayFolder:
    return ArrayFolder(path, {"of": identity}, list(VALUES), total=total, block=4)


def fill(arrays: ArrayFolder, share: tuple[int, int] = (0, 1)) -> list[range]:
    """The blocks that were made."""
    made: list[range] = []

    def make(rows: range) -> dict[str, np.ndarray]:
        made.append(rows)
        return {name: values[rows.start : rows.stop] for name, values in VALUES.items()}

    arrays.fill(make, share, lambda done, total: None)
    return made


def test_rows_and_parts_of_rows_are_read(tmp_path):
    arrays = folder(tmp_path)
    assert fill(arrays) == [range(4), range(4, 8), range(8, 10)]
    arrays.check_complete()
    rows = torch.tensor([9, 0, 4, 4])
    states = torch.from_numpy(VALUES["states"]).float()
    assert torch.equal(arrays.read("states", rows), states[rows])
    assert torch.equal(arrays.read("states", rows, 1), states[rows, 1])
    places = torch.tensor([0, 1, 1, 0])
    assert torch.equal(arrays.read("states", rows, 2, places), states[rows, 2, places])
    assert arrays.read("counts", rows).tolist() == [9, 0, 4, 4]


def test_processes_fill_it_together(tmp_path):
    first, second = folder(tmp_path), folder(tmp_path)
    assert fill(first, (0, 2)) == [range(4), range(8, 10)]
    with pytest.raises(DitAccelError, match=r"1 of 3 files are not to be seen.*machines share"):
        first.check_complete()
    assert fill(second, (1, 2)) == [range(4, 8)]
    first.check_complete()
    assert fill(folder(tmp_path)) == []


def test_a_longer_set_goes_on_with_a_shorter_one(tmp_path):
    fill(folder(tmp_path, total=6))
    # the last block was cut short, and is another one
    assert fill(folder(tmp_path, total=10)) == [range(4, 8), range(8, 10)]
    assert fill(folder(tmp_path, total=6)) == []


def test_a_block_is_there_with_all_of_its_arrays(tmp_path):
    fill(folder(tmp_path))
    (tmp_path / "counts-00000004-4.npy").unlink()
    assert fill(folder(tmp_path)) == [range(4, 8)]


def test_other_contents_are_refused(tmp_path):
    fill(folder(tmp_path))
    with pytest.raises(DitAccelError, match=r"another model or config .*choose another"):
        folder(tmp_path, identity="b")
