"""Data-free: the teacher's own trajectories, and what it said on them, cached on disk.

Sample `i` is the run of seed `seed + i` with the condition of that place. The states of each step
are kept as the transformer saw them, and its outputs with the condition and, under guidance,
without it: training then asks the teacher no more, and drops conditions for nothing. What the runs
end with is kept too, as latents that can be noised afresh.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dit_accel.adaptation.array_folder import ArrayFolder
from dit_accel.adaptation.denoising import Denoising
from dit_accel.adaptation.noise_levels import NoiseLevels
from dit_accel.adaptation.samples import Batch
from dit_accel.backbones import find_backbone
from dit_accel.integration.calls import argument_names, named_arguments, output_of

Advance = Callable[[str], None]


@dataclass(frozen=True)
class TrajectoryRequest:
    """Which trajectories.

    Attributes:
        pipe: of the teacher, with its solver.
        denoising: how it runs.
        conditions: row of each trajectory in the condition table, `[N]`.
        levels: of the run.
        seed: of the first trajectory.
        batch_size: at a time; part of what decides the last bit.
    """

    pipe: Any
    denoising: Denoising
    conditions: Tensor
    levels: NoiseLevels
    seed: int
    batch_size: int


class Trajectories:
    """A `Source` of states on trajectories.

    Args:
        request: which.
        arrays: where they are kept.
    """

    def __init__(self, request: TrajectoryRequest, arrays: ArrayFolder) -> None:
        self.request, self.arrays = request, arrays

    def __len__(self) -> int:
        return len(self.request.conditions)

    def fill(self, advance: Advance = lambda finished: None) -> None:
        """Run whatever is not there yet; `advance` is told of every batch, found or made."""
        total, size = len(self), self.request.batch_size
        for start in range(0, total, size):
            if start >= self.arrays.done:
                samples = range(start, min(start + size, total))
                self.arrays.write(total, self._run(samples))
            advance("trajectories")

    @torch.no_grad()
    def _run(self, samples: Sequence[int]) -> dict[str, np.ndarray]:
        request, pipe = self.request, self.request.pipe
        rows = request.conditions[list(samples)]
        seeds = [request.seed + i for i in samples]
        with _listening(pipe.transformer) as calls:
            found = request.denoising.latents(pipe, rows, seeds)
        guided, first = request.denoising.guided, find_backbone(pipe.transformer).conditional_first
        seen = [_by_sample(call, len(samples), guided, first) for call in calls]
        states, outputs = ([pair[place] for pair in seen] for place in (0, 1))
        latents = found.half().cpu().numpy()
        return {"states": _half(states), "outputs": _half(outputs), "latents": latents}

    def batch(
        self, samples: Tensor, dropped: Tensor, step: int, generator: torch.Generator
    ) -> Batch:
        """As `Source.batch`; nothing is drawn."""
        conditions = self.request.conditions[samples].masked_fill(dropped, 0)
        timestep = self.request.levels.timesteps[step]
        return Batch(
            states=self.arrays.read("states", samples, step),
            timesteps=torch.full((len(samples),), timestep),
            conditions=conditions,
            outputs=self.arrays.read("outputs", samples, step, dropped.long()),
        )


@contextmanager
def _listening(transformer: Any) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """What goes into the transformer and what comes out of it, call by call."""
    names, calls = argument_names(transformer), list[tuple[Tensor, Tensor]]()

    def hear(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        arguments = named_arguments(names, args, kwargs)
        calls.append((arguments["hidden_states"], output_of(output)))

    handle = transformer.register_forward_hook(hear, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


def _by_sample(
    call: tuple[Tensor, Tensor], count: int, guided: bool, conditional_first: bool
) -> tuple[Tensor, Tensor]:
    """State `[B, C, h, w]`, and outputs `[B, G, Co, h, w]`, those with the condition first."""
    states, outputs = call
    halves = list(outputs.chunk(2)) if guided else [outputs]
    if guided and not conditional_first:
        halves.reverse()
    return states[:count], torch.stack(halves, dim=1)


def _half(steps: Sequence[Tensor]) -> np.ndarray:
    return torch.stack([each.half().cpu() for each in steps], dim=1).numpy()
