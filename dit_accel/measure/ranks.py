"""Several processes under ``torchrun``: each measures its own device, and rank 0 reports."""

from __future__ import annotations

import os
from typing import TypeVar

import torch
from torch import distributed

T = TypeVar("T")


def start_ranks() -> None:
    """Join the process group that ``torchrun`` describes; nothing to do in a lone process."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        # Only small Python objects are exchanged, and never while something is timed.
        distributed.init_process_group("gloo")


def rank() -> int:
    """This process's number, 0 in a lone one."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def gather(value: T) -> list[T]:
    """The value of every rank, in their order."""
    if not distributed.is_initialized():
        return [value]
    values: list[T] = [value] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values


def stop_ranks() -> None:
    """Leave the process group, if there is one."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def rank_device(device: str) -> torch.device:
    """The device of this rank: ``cuda`` becomes the GPU of its local number."""
    if device == "cuda":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device(device)
