"""Which part of a set a process begins with, from whatever launched it."""

from __future__ import annotations

import pytest
import torch

from dit_accel import DitAccelError
from dit_accel.sampling.ranks.shard import Shard, current_shard

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
SLURM = {"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_LOCALID": "1"}


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        (None, {}, Shard(0, 1, 0)),
        (None, TORCHRUN, Shard(5, 8, 1)),
        (None, SLURM, Shard(3, 4, 1)),
        (None, TORCHRUN | SLURM, Shard(5, 8, 1)),
        (None, {"RANK": "0", "WORLD_SIZE": "2"}, Shard(0, 2, 0)),
        (None, {"SLURM_PROCID": "0"}, Shard(0, 1, 0)),  # the shell of an sbatch script
        (None, {"SLURM_NTASKS": "8"}, Shard(0, 1, 0)),  # an salloc shell
        (None, {"LOCAL_RANK": "1"}, Shard(0, 1, 0)),
        ("1/2", {}, Shard(1, 2, 0)),
        (" 0/1 ", {}, Shard(0, 1, 0)),
        ("1/2", TORCHRUN | SLURM, Shard(1, 2, 1)),
        ("0/2", {"RANK": "1"}, Shard(0, 2, 0)),
    ],
)
def test_found(text: str | None, environment: dict[str, str], expected: Shard) -> None:
    assert current_shard(text, environment) == expected


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("2/2", {}, r'--shard: got "2/2".*from 0 to 1.*counts from 0'),
        ("0/0", {}, "1 or more"),
        ("1", {}, r"--shard: got \"1\".*i/n"),
        ("-1/2", {}, "i/n"),
        ("1.0/2", {}, "i/n"),
        ("a/b", {}, "i/n"),
        ("", {}, "i/n"),
        ("1/2/3", {}, "i/n"),
        (None, {"RANK": "1"}, "WORLD_SIZE: not set, although RANK is"),
        (None, {"WORLD_SIZE": "2"}, "RANK: not set, although WORLD_SIZE is"),
        (None, {"RANK": "2", "WORLD_SIZE": "2"}, "RANK/WORLD_SIZE: got"),
        (None, {"RANK": "one", "WORLD_SIZE": "2"}, 'RANK: got "one"'),
        (None, TORCHRUN | {"LOCAL_RANK": ""}, "LOCAL_RANK: got"),
        (None, SLURM | {"SLURM_PROCID": "4"}, "SLURM_PROCID/SLURM_NTASKS: got"),
    ],
)
def test_refused(text: str | None, environment: dict[str, str], message: str) -> None:
    with pytest.raises(DitAccelError, match=message):
        current_shard(text, environment)


def test_this_process_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert current_shard() == Shard(5, 8, 1)


def test_local_rank_picks_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Shard(3, 4, 3).device == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert Shard(7, 8, 3).device == torch.device("cuda", 3)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # Slurm shows a task its own alone
    assert Shard(7, 8, 3).device == torch.device("cuda", 0)
