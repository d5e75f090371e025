"""Sets of images made by real processes, which are cheap to start and may be killed at will."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dit_accel.runs import RunFolder, read_image, read_manifest
from dit_accel.sampling.preparing import PreparedSampling, prepare_sampling
from dit_accel.sampling.ranks.shard import Shard
from dit_accel.sampling.sample_config import SampleConfig

# One server imports torch and diffusers once, with no thread started, and forks every rank. A fork
# of the test process itself would inherit OpenMP's and CUDA's state.
_RANKS = multiprocessing.get_context("forkserver")
_RANKS.set_forkserver_preload(
    ["dit_accel.sampling.ranks.worker", "dit_accel.sampling.preparing", "dit_accel.pipelines"]
)
Ranks = Sequence[multiprocessing.process.BaseProcess]


def prepared_set(model: Path, output: Path, **changes: Any) -> PreparedSampling:
    """A set of eleven small images in blocks of three, unless told otherwise."""
    document = {
        "model": str(model),
        "num_inference_steps": 3,
        "num_samples": 11,
        "batch_size": 3,
        "shard_size": 3,
        "guidance_scale": 2.0,
        "data": {"labels": "uniform"},
        "output": str(output),
    }
    return prepare_sampling(SampleConfig(**{**document, **changes}))


@contextmanager
def running(prepared: PreparedSampling, world_size: int, ranks: Sequence[int], **options: Any):
    """Ranks as processes; those that still live at the end are killed. Yields them."""
    processes = [
        _RANKS.Process(target=_sample, args=(prepared, Shard(rank, world_size), options))
        for rank in ranks
    ]
    for process in processes:
        process.start()
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.join()


def _sample(prepared: PreparedSampling, shard: Shard, options: dict[str, Any]) -> None:
    import torch

    from dit_accel.sampling.ranks.worker import sample_set

    torch.set_num_threads(1)
    with Path(f"{prepared.config.output}-{shard.rank}-{os.getpid()}.log").open("w") as log:
        sys.stderr = log
        sys.exit(sample_set(prepared, shard, **options).exit_code)


def logs(prepared: PreparedSampling) -> str:
    """What all ranks have said."""
    output = Path(prepared.config.output)
    return "".join(path.read_text() for path in sorted(output.parent.glob(f"{output.name}-*.log")))


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Poll until ``condition`` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def join(processes: Ranks, seconds: float = 60.0) -> list[int | None]:
    """Exit codes of the processes, which have to end by themselves."""
    for process in processes:
        process.join(seconds)
    return [process.exitcode for process in processes]


def images_of(output: Path) -> dict[int, np.ndarray]:
    """Every image of a run folder, decoded and compared with its record."""
    folder = RunFolder.read(output)
    records = read_manifest(folder)
    return {index: read_image(folder, records[index], thorough=True) for index in sorted(records)}


def files_of(output: Path) -> list[str]:
    """Names of the image files."""
    found = (path for path in (output / "images").rglob("*") if path.is_file())
    return sorted(path.relative_to(output).as_posix() for path in found)


def recorded(output: Path) -> list[str]:
    """Lines of all manifests."""
    return [line for path in output.glob("manifest/*") for line in path.read_text().splitlines()]


def assert_same_images(images: dict[int, np.ndarray], others: dict[int, np.ndarray]) -> None:
    """Equal within one grey level."""
    assert list(images) == list(others)
    for index, image in images.items():
        assert np.abs(image.astype(int) - others[index].astype(int)).max() <= 1, index
