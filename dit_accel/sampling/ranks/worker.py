"""One rank's loop: take a block, make what is missing of it, take the next, until the set is there.

Ranks never talk to each other. What they know of one another is in the run folder: manifests and
claims. So a rank may start late, end early or die, and the number of ranks may change from one
launch to the next.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from dit_accel.errors import DitAccelError, RunError
from dit_accel.runs.claims import ClaimBoard
from dit_accel.runs.folder import RunFolder
from dit_accel.runs.manifest import ManifestWriter
from dit_accel.runs.manifest_reading import read_manifest
from dit_accel.sampling.preparing import PreparedSampling
from dit_accel.sampling.prompt_check import prompt_warnings
from dit_accel.sampling.ranks.block_making import BlockMaker, Observer
from dit_accel.sampling.ranks.open_blocks import OpenBlocks
from dit_accel.sampling.ranks.recording import ImageRecorder
from dit_accel.sampling.ranks.set_progress import SetProgress, show_nothing
from dit_accel.sampling.ranks.shard import Shard
from dit_accel.sampling.ranks.stopping import StopRequest, stop_on_signals
from dit_accel.sampling.ranks.write_queue import WriteQueue

Say = Callable[[str], None]
_POLL_SECONDS = 1.0
_SILENT_POLLS = 10  # ranks end within seconds of each other, as a rule


class SamplingError(RunError):
    """Sampling had begun and cannot go on; what was finished before is kept."""


def say_on_stderr(text: str) -> None:
    """Print one line on standard error."""
    print(text, file=sys.stderr, flush=True)


def open_run_folder(prepared: PreparedSampling) -> RunFolder:
    """Begin the run folder that a config names, or go on with it.

    Raises:
        RunFolderError: it holds another set, or something else.
    """
    # The date would make every launch, and every rank, another environment.
    environment = {key: value for key, value in prepared.environment.items() if key != "date"}
    return RunFolder.create_or_resume(
        Path(prepared.config.output),
        identity=prepared.identity,
        settings=prepared.config.model_dump(mode="json"),
        environment=environment,
        block_size=prepared.shard_size,
    )


def sample_set(
    prepared: PreparedSampling,
    shard: Shard,
    *,
    folder: RunFolder | None = None,
    steal: bool = True,
    observers: Sequence[Observer] = (),
    say: Say = say_on_stderr,
    display: Callable[[RunFolder], AbstractContextManager[None]] = show_nothing,
    stop: StopRequest | None = None,
) -> SetProgress:
    """Make this rank's share of a set, then what is left of the others'.

    Returns when the set is complete (without ``steal``: when the own share is), or, with the batch
    in hand finished and written, when SIGINT or SIGTERM asks for it.

    Args:
        prepared: what to make, and where.
        shard: this process's place among the ranks.
        folder: what ``open_run_folder`` returned, where it was called already.
        steal: see to the other ranks' blocks too when the own share is done.
        observers: called in the writer's thread with every block that this rank completes and all
            of its images, uint8 [H, W, 3] by index, before other ranks see it let go.
        say: told what was found and what was done about it, a line at a time.
        display: context that shows the progress of the whole set; see ``set_progress``.
        stop: asks for the same as SIGINT and SIGTERM do, from where these do not reach.

    Raises:
        RunFolderError: the folder holds another set, or something else.
        SamplingError: images cannot be made or written any more.
    """
    begin = time.monotonic()
    folder = folder or open_run_folder(prepared)
    speak = partial(_say_as, shard, say)
    with stop_on_signals(stop) as stop, display(folder):
        try:
            made = _work(prepared, folder, shard, stop, steal, observers, speak)
        except DitAccelError as error:
            raise SamplingError(str(error)) from error
    complete = len(read_manifest(folder))
    return SetProgress(folder.num_samples, complete, made, time.monotonic() - begin, stop.exit_code)


def _say_as(shard: Shard, say: Say, text: str) -> None:
    say(f"rank {shard.rank}/{shard.world_size}: {text}" if shard.world_size > 1 else text)


def _work(
    prepared: PreparedSampling,
    folder: RunFolder,
    shard: Shard,
    stop: StopRequest,
    steal: bool,
    observers: Sequence[Observer],
    say: Say,
) -> int:
    """Make blocks until none is left; return how many images were made."""
    with ManifestWriter(folder, shard.rank) as manifest, ClaimBoard(folder, shard.rank) as board:
        blocks = OpenBlocks(folder, board, shard, steal=steal)
        for notice in (*folder.notices, manifest.notice, _found(folder, blocks)):
            if notice:
                say(notice)
        if blocks and shard.rank == 0:  # of all ranks, who have the same prompts
            for line in prompt_warnings(prepared.folder, prepared.prompts):
                say(line)
        recorder = ImageRecorder(folder, manifest, shard.rank)
        maker = BlockMaker(prepared, shard.device, folder, recorder, board, observers, stop, say)
        with WriteQueue() as queue:
            polls = 0
            while blocks and not stop.requested:
                taken = blocks.take()
                if taken is not None:
                    maker.make(taken, queue)
                    polls = 0
                elif blocks:
                    polls += 1
                    if polls == _SILENT_POLLS:
                        say(f"waiting for what others have in hand: {blocks.holders()}")
                    _pause(stop, queue)
        return recorder.recorded


def _found(folder: RunFolder, blocks: OpenBlocks) -> str:
    """What was in the folder, and what is done about what is wrong with it."""
    manifest = read_manifest(folder)
    parts = [f"{len(manifest)} of {folder.num_samples} images are there"]
    if blocks.unreadable:
        parts.append(f"{len(blocks.unreadable)} of them unreadable and made again")
    if manifest.skipped_lines:
        lines = "line" if manifest.skipped_lines == 1 else "lines"
        parts.append(f"{manifest.skipped_lines} half-written {lines} of the manifest ignored")
    return f"{folder.path}: {', '.join(parts)}"


def _pause(stop: StopRequest, queue: WriteQueue) -> None:
    """Wait a moment: all that is left is in other ranks' hands."""
    end = time.monotonic() + _POLL_SECONDS
    while time.monotonic() < end and not stop.requested:
        queue.check()
        time.sleep(_POLL_SECONDS / 10)
