"""Every row of a frontier as a denoising loop over the weights of one pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dit_accel.evaluation.frontier.entries import Entry
from dit_accel.evaluation.peers.peer import AttachedPeer
from dit_accel.install import installation_of
from dit_accel.measure.macs import count_macs
from dit_accel.plan import Plan
from dit_accel.sampling.batch import ImageBatch, decode, denoise, encode_text
from dit_accel.sampling.generate import image_batch
from dit_accel.sampling.specs import SampleSpec
from dit_accel.sampling.variants import pipeline_variant, shared_copy


@dataclass(frozen=True)
class _Setup:
    """A pipeline with a solver, and a plan or a peer."""

    pipe: Any
    peer: AttachedPeer | None

    def run(self, batch: ImageBatch, conditions: dict[str, Any], steps: int) -> torch.Tensor:
        if self.peer is not None:
            self.peer.begin()
        return denoise(self.pipe, batch, conditions, steps)

    @property
    def nbytes(self) -> int:
        """What the cache held: at most, of a plan; in the end, of a peer."""
        if self.peer is not None:
            return self.peer.nbytes
        installation = installation_of(self.pipe)
        return 0 if installation is None else installation.statistics.cache_bytes


class Runners:
    """Makes pictures and timed calls of rows.

    Rows that differ in their steps alone share a pipeline, all share the weights.

    Args:
        pipe: without a plan; stays so.
        timed: specs of the batch that is timed.
        guidance_scale: classifier-free guidance above 1.
        batch_size: pictures at a time where nothing is timed.
    """

    def __init__(
        self, pipe: Any, timed: Sequence[SampleSpec], guidance_scale: float, batch_size: int
    ) -> None:
        self._pipe, self._guidance, self._batch_size = pipe, guidance_scale, batch_size
        self._timed = image_batch(timed, guidance_scale)
        self._timed_conditions = encode_text(pipe, self._timed)
        self._setups: dict[tuple[str, str], _Setup] = {}

    def images(self, entry: Entry, specs: Sequence[SampleSpec]) -> torch.Tensor:
        """Pictures `[N, 3, H, W]` in [0, 1]; one at a time where they would decide together."""
        size = 1 if entry.decides_by_batch else self._batch_size
        setup, steps = self._setup(entry), entry.base.num_inference_steps
        parts = []
        for start in range(0, len(specs), size):
            batch = image_batch(specs[start : start + size], self._guidance)
            latents = setup.run(batch, encode_text(self._pipe, batch), steps)
            parts.append(decode(self._pipe, latents))
        return torch.cat(parts)

    def timed_run(self, entry: Entry) -> None:
        """What is timed: the loop, with its texts encoded before."""
        steps = entry.base.num_inference_steps
        self._setup(entry).run(self._timed, self._timed_conditions, steps)

    def cost(self, entry: Entry) -> tuple[int, int]:
        """MACs of the timed batch as they are dispatched, and bytes of its cache."""
        with count_macs() as counter:
            self.timed_run(entry)
        return counter.total, self._setup(entry).nbytes

    def _setup(self, entry: Entry) -> _Setup:
        if entry.setup not in self._setups:
            self._setups[entry.setup] = self._make(entry)
        return self._setups[entry.setup]

    def _make(self, entry: Entry) -> _Setup:
        if entry.peer is None:
            return _Setup(pipeline_variant(self._pipe, entry.base.solver, entry.plan), None)
        pipe = pipeline_variant(self._pipe, entry.base.solver, Plan())
        pipe.transformer = shared_copy(self._pipe.transformer)
        return _Setup(pipe, entry.peer.attach(pipe, entry.plan))
