"""Which samples at which step of the run: a pure function of the number of the batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dit_accel.adaptation.batch_grids import BatchGrids
from dit_accel.adaptation.noise_levels import NoiseLevels
from dit_accel.adaptation.samples import Batch, Source
from dit_accel.tokens.grid import Grid
from dit_accel.training.loop import step_generator

# One a purpose, of one seed.
_TRAINING, _HELD_OUT, _CALIBRATION, _ORDER, _GRIDS = 32, 33, 34, 35, 36


@dataclass(frozen=True)
class Draws:
    """Draws the batches of one adaptation.

    Attributes:
        source: of the samples; some `held_out` of them are never trained on.
        levels: of the run.
        steps: of the run that are trained.
        grids: that batches run on.
        batch_size: samples, over all processes.
        dropout: share of them without their condition.
        held_out: samples for the score.
        seed: of everything.
        share: of each batch that this process computes: `(process, processes)`.
        fresh: the same samples, noised afresh.
        renoise: share of the training's batches that are of these.
    """

    source: Source
    levels: NoiseLevels
    steps: tuple[int, ...]
    grids: BatchGrids
    batch_size: int
    dropout: float
    held_out: int
    seed: int
    share: tuple[int, int] = (0, 1)
    fresh: Source | None = None
    renoise: float = 0.0

    def training(self, number: int) -> tuple[Batch, int]:
        """Batch `number` and its step of the run.

        One step a batch, because all of its rows have the same tokens; the same in all processes,
        which then take equally long.
        """
        generator = step_generator(self.seed, _TRAINING, number)
        step = self.levels.draw_step(self.steps, generator)
        source = self.source
        if self.fresh is not None and torch.rand((), generator=generator) < self.renoise:
            source = self.fresh
        drawn = torch.randint(self.num_trained, (self.batch_size,), generator=generator)
        samples = self._order[drawn]
        dropped = self._dropped(self.batch_size, generator)
        return _share(source.batch(samples, dropped, step, generator), *self.share), step

    def grid(self, number: int, step: int) -> Grid:
        """Of the tokens of batch `number` at its step; the same in all processes."""
        return self.grids.draw(step, step_generator(self.seed, _GRIDS, number))

    def calibration(self, step: int, samples: Tensor) -> Batch:
        """Some samples `[B]` at one step, as training would see them; the same at every call."""
        generator = step_generator(self.seed, _CALIBRATION, step)
        dropped = self._dropped(len(samples), generator)
        return self.source.batch(self._order[samples], dropped, step, generator)

    def scoring(self, step: int) -> Batch:
        """All held-out samples at one step, with their conditions; the same at every call."""
        generator = step_generator(self.seed, _HELD_OUT, step)
        samples = self._order[self.num_trained :]
        return self.source.batch(
            samples, torch.zeros(len(samples), dtype=torch.bool), step, generator
        )

    @cached_property
    def _order(self) -> Tensor:
        # Pictures come sorted by class: whatever is held out must not be one class alone.
        return torch.randperm(len(self.source), generator=step_generator(self.seed, _ORDER, 0))

    @property
    def num_trained(self) -> int:
        """Samples that may be trained on."""
        return len(self.source) - self.held_out

    def _dropped(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.rand(count, generator=generator) < self.dropout


def _share(batch: Batch, process: int, processes: int) -> Batch:
    if processes == 1:
        return batch
    rows = slice(process, None, processes)
    outputs = None if batch.outputs is None else batch.outputs[rows]
    target = None if batch.target is None else batch.target[rows]
    return Batch(batch.states[rows], batch.timesteps[rows], batch.conditions[rows], outputs, target)
