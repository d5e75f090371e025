"""Making what is missing of a block: sample, hand over to the writer, let go of the block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from dit_accel.runs.claims import ClaimBoard
from dit_accel.runs.folder import RunFolder
from dit_accel.runs.reading import read_image
from dit_accel.sampling.generate import Sample, generate, ready_pipeline
from dit_accel.sampling.preparing import PreparedSampling
from dit_accel.sampling.ranks.open_blocks import TakenBlock
from dit_accel.sampling.ranks.recording import ImageRecorder
from dit_accel.sampling.ranks.stopping import StopRequest
from dit_accel.sampling.ranks.write_queue import WriteQueue
from dit_accel.sampling.specs import SampleSpec

Observer = Callable[[range, dict[int, np.ndarray]], None]


@dataclass
class BlockMaker:
    """Makes what is missing of one block after the other, with one pipeline.

    Attributes:
        prepared: what to make.
        device: where.
        folder: of the run.
        recorder: writes the images.
        board: on which finished blocks are given back.
        observers: shown every block that is complete.
        stop: ends a block early.
        say: told what happened, a line at a time.
    """

    prepared: PreparedSampling
    device: torch.device
    folder: RunFolder
    recorder: ImageRecorder
    board: ClaimBoard
    observers: Sequence[Observer]
    stop: StopRequest
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self._batch_size = self.prepared.config.batch_size

    @cached_property
    def _pipe(self) -> Any:
        # Only here: a set that is complete needs no model.
        return ready_pipeline(self.prepared, self.device)

    def make(self, block: TakenBlock, queue: WriteQueue) -> None:
        """Sample what is missing of ``block`` and queue it; ends early if a stop is requested."""
        if block.former is not None:
            self.say(f"block {block.number} taken over from {block.former}, which is gone")
        waiting: list[Sample] = []
        left, images = len(block.absent), {}

        def write() -> None:
            samples = tuple(waiting)
            waiting.clear()
            if samples:
                queue.put(partial(self.recorder.record, block.indices, samples))

        try:
            for batch in self._batches(block):
                left -= len(batch)
                waiting.extend(batch)
                if self.observers:
                    images.update({sample.spec.index: sample.image for sample in batch})
                if not self.recorder.whole_blocks:
                    write()
                if self.stop.requested:
                    break
        finally:  # a shard cut short, by a stop or by an error, keeps what it has
            write()
        if not left:
            queue.put(partial(self._finish, block, images))

    def _batches(self, block: TakenBlock) -> Iterator[list[Sample]]:
        """Sample the block batch by batch; only what is missing of it comes out."""
        config, absent = self.prepared.config, set(block.absent)
        specs, pipe = self._specs(block), self._pipe
        if self.stop.requested:  # while the model was loaded
            return
        samples = generate(
            pipe,
            specs,
            num_inference_steps=config.num_inference_steps,
            guidance_scale=config.guidance_scale,
            batch_size=self._batch_size,
            height=config.height,
            width=config.width,
            deterministic=config.deterministic,
            notify=self.say,
        )
        left = len(specs)
        for batch in whole_batches(samples):
            if len(batch) < min(self._batch_size, left):
                self._batch_size = len(batch)  # memory ran out: so it would in the next block
            left -= len(batch)
            yield [sample for sample in batch if sample.spec.index in absent]

    def _specs(self, block: TakenBlock) -> list[SampleSpec]:
        """What to sample: the missing images, or, to be bitwise equal, their whole batches."""
        indices: Sequence[int] = block.absent
        if self.prepared.config.deterministic:
            size = self.prepared.config.batch_size
            batches = (block.indices[i : i + size] for i in range(0, len(block.indices), size))
            indices = [i for batch in batches if not set(batch).isdisjoint(indices) for i in batch]
        return [self.prepared.specs[index] for index in indices]

    def _finish(self, block: TakenBlock, images: dict[int, np.ndarray]) -> None:
        """Show a complete block to the observers, then let it go; in the writer's thread."""
        if self.observers:
            found = {i: read_image(self.folder, record) for i, record in block.records.items()}
            images = dict(sorted((found | images).items()))
            for observer in self.observers:
                observer(block.indices, images)
        if block.number in self.board.lost:
            self.say(f"block {block.number} was taken over while this process was suspended")
        self.board.release(block.number)


def whole_batches(samples: Iterator[Sample]) -> Iterator[list[Sample]]:
    """Group samples by the batch they came out of, as soon as it is complete."""
    batch: list[Sample] = []
    for sample in samples:
        batch.append(sample)
        if len(batch) == sample.batch.size:
            yield batch
            batch = []
