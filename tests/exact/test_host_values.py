"""Reading small tensors: what is known needs no read, what was written to is read again."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dit_accel.exact.host_values import HostValues


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    counted: list[int] = []
    original = torch.Tensor.tolist

    def read(tensor: Any) -> Any:
        counted.append(tensor.numel())
        return original(tensor)

    monkeypatch.setattr(torch.Tensor, "tolist", read)
    return counted


def test_views_of_the_timesteps_are_not_read(reads: list[int]) -> None:
    values, timesteps = HostValues(), torch.tensor([900, 500, 100])
    values.expect(timesteps)
    values.expect(timesteps)
    assert reads == [3] and values.upcoming == [900, 500, 100]
    for timestep, expected in zip(timesteps, (900, 500, 100), strict=True):
        assert values.read(timestep.expand(4)) == [expected] * 4
        assert values.read(timestep[None].expand(4)) == [expected] * 4
    assert values.read(timesteps[1:2].expand(2)) == [500, 500]
    assert reads == [3]
    assert values.read(timesteps[1:]) == [500, 100]  # two entries of it are no expanded one
    assert values.read(timesteps[1].float()) == [500.0]
    assert len(reads) == 3


def test_timesteps_that_are_written_to_are_read_again(reads: list[int]) -> None:
    values, timesteps = HostValues(), torch.tensor([900, 500, 100])
    values.expect(timesteps)
    timesteps[1] = 444
    assert values.read(timesteps[1].expand(2)) == [444, 444]
    values.expect(timesteps)
    assert values.upcoming == [900, 444, 100]
    values.expect(None)
    assert values.upcoming == [] and values.read(timesteps[2]) == [100]


def test_a_tensor_is_read_once_until_it_is_written_to(reads: list[int]) -> None:
    values, labels = HostValues(), torch.tensor([1, 2])
    assert values.read(labels) == values.read(labels) == [1, 2]
    assert len(reads) == 1
    labels += 1
    assert values.read(labels) == [2, 3]
    assert values.read(labels.clone()) == [2, 3]
    assert len(reads) == 3


def test_tensors_of_inference_mode_are_read_each_time(reads: list[int]) -> None:
    values = HostValues()
    with torch.inference_mode():
        labels = torch.tensor([1, 2])
        assert values.read(labels) == [1, 2]
        labels += 1
        assert values.read(labels) == [2, 3]
        values.expect(torch.tensor([3, 2]))
        assert values.upcoming == []
