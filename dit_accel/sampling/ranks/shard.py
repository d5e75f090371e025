"""Which part of a set this process begins with, and on which device; no process group is needed.

Found in the variables that torchrun, ``accelerate launch`` and Slurm set, or told by ``--shard``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from dit_accel.errors import DitAccelError, mismatch


@dataclass(frozen=True)
class Shard:
    """Process ``rank`` of ``world_size``.

    Attributes:
        rank: from 0.
        world_size: processes that share the set.
        local_rank: number of this process on its machine, which picks the GPU.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def device(self) -> torch.device:
        """This process's GPU where there is one, else the CPU.

        Modulo the GPUs in sight: Slurm may show each task its own GPU alone.
        """
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", self.local_rank % torch.cuda.device_count())


def current_shard(text: str | None = None, environment: Mapping[str, str] = os.environ) -> Shard:
    """The shard of this process.

    Args:
        text: ``i/n`` of ``--shard``, i from 0, which goes before everything else. ``LOCAL_RANK``
            still picks the GPU (0 without it; ``CUDA_VISIBLE_DEVICES`` is the other way).
        environment: variables; ``RANK, WORLD_SIZE, LOCAL_RANK`` (torchrun, accelerate) go before
            ``SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID``.

    Raises:
        DitAccelError: no such form, a rank outside the world, or a rank without a world.
    """
    if text is not None:
        return _told(text, environment)
    if "RANK" in environment or "WORLD_SIZE" in environment:
        return _launched(environment)
    # An sbatch script's own shell has a process id and may have no number of tasks.
    if "SLURM_PROCID" in environment and "SLURM_NTASKS" in environment:
        rank, world = _number(environment, "SLURM_PROCID"), _number(environment, "SLURM_NTASKS")
        local = _number(environment, "SLURM_LOCALID") if "SLURM_LOCALID" in environment else 0
        return _checked("SLURM_PROCID/SLURM_NTASKS", rank, world, local)
    return Shard()


def _told(text: str, environment: Mapping[str, str]) -> Shard:
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", text.strip())
    if found is None:
        remedy = "write for instance --shard 0/2 on one machine and --shard 1/2 on the other"
        raise DitAccelError("--shard: " + mismatch(text, "i/n with i from 0 to n - 1", remedy))
    local = _number(environment, "LOCAL_RANK") if "LOCAL_RANK" in environment else 0
    return _checked("--shard", int(found[1]), int(found[2]), local)


def _launched(environment: Mapping[str, str]) -> Shard:
    missing = [name for name in ("RANK", "WORLD_SIZE") if name not in environment]
    if missing:
        raise DitAccelError(
            f"{missing[0]}: not set, although {'WORLD_SIZE' if 'RANK' in missing else 'RANK'} is; "
            "set both (torchrun and accelerate launch do), unset both, or use --shard i/n"
        )
    rank, world = _number(environment, "RANK"), _number(environment, "WORLD_SIZE")
    local = _number(environment, "LOCAL_RANK") if "LOCAL_RANK" in environment else 0
    return _checked("RANK/WORLD_SIZE", rank, world, local)


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment[name].strip()
    if not (text.isascii() and text.isdigit()):
        remedy = "correct or unset it, or use --shard i/n"
        raise DitAccelError(f"{name}: " + mismatch(environment[name], "a number from 0", remedy))
    return int(text)


def _checked(source: str, rank: int, world_size: int, local_rank: int) -> Shard:
    if not 0 <= rank < world_size:
        expected = f"i/n with i from 0 to {world_size - 1}" if world_size else "n of 1 or more"
        remedy = "i counts from 0: the last of n processes is n-1/n"
        raise DitAccelError(f"{source}: " + mismatch(f"{rank}/{world_size}", expected, remedy))
    return Shard(rank, world_size, local_rank)
