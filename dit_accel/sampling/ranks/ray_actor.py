"""What runs on a Ray worker: one rank of a set, as ``sampling.worker`` makes it anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dit_accel.runs.errors import RunFolderError
from dit_accel.runs.folder import RunFolder
from dit_accel.sampling.preparing import PreparedSampling, prepare_sampling
from dit_accel.sampling.ranks.block_making import Observer
from dit_accel.sampling.ranks.shard import Shard
from dit_accel.sampling.ranks.stopping import StopRequest
from dit_accel.sampling.ranks.worker import open_run_folder, sample_set
from dit_accel.sampling.sample_config import SampleConfig

Observe = Callable[[PreparedSampling, RunFolder, Shard], Sequence[Observer]]


def no_observers(prepared: PreparedSampling, folder: RunFolder, shard: Shard) -> Sequence[Observer]:
    """Images are written and looked at no further."""
    return ()


@dataclass(frozen=True)
class Order:
    """What every actor of a set is told.

    Attributes:
        config: of the set. Each actor prepares it for itself, so that a machine with other weights
            under the same path is refused, as a rank of ``torchrun`` would be.
        directory: the driver's working directory, which relative paths are relative to.
        observe: makes the observers of ``sample_set``.
    """

    config: SampleConfig
    directory: str
    observe: Observe


class SamplingActor:
    """One rank at a time; a Ray actor with two threads, one of which is free to hear ``stop``."""

    def __init__(self) -> None:
        self._stop = StopRequest()

    def sample(self, order: Order, shard: Shard) -> int:
        """Make a rank's share and what is left of the others'; return how many images were made.

        Raises:
            DitAccelError: what ``prepare_sampling`` and ``sample_set`` raise, or no run folder.
        """
        from diffusers.utils import logging as diffusers_logging
        from transformers.utils import logging as transformers_logging

        diffusers_logging.disable_progress_bar()  # Ray would print every actor's
        diffusers_logging.set_verbosity_error()
        transformers_logging.set_verbosity_error()
        _enter(order)
        prepared = prepare_sampling(order.config)
        folder = open_run_folder(prepared)
        observers = order.observe(prepared, folder, shard)
        return sample_set(prepared, shard, folder=folder, observers=observers, stop=self._stop).made

    def stop(self, number: int) -> None:
        """Finish the batch in hand and return, as after the signal ``number``."""
        self._stop.request(number)


def _enter(order: Order) -> None:
    """Go to the driver's directory and see that the run folder that it has begun is there.

    Without this look a machine with a disk of its own would begin a folder nobody finds.
    """
    try:
        os.chdir(order.directory)
        RunFolder.read(Path(order.config.output))
    except (OSError, RunFolderError) as error:
        raise RunFolderError(
            f"{Path(order.directory, order.config.output)} is not seen by {os.uname().nodename} "
            f"({error}); put the run folder, and start the command, on a file system that all "
            "nodes of the Ray cluster share under the same path"
        ) from error
