"""Data-free: the teacher's own trajectories, and what it said on them, cached on disk.

Sample `i` is the run of seed `seed + i` with the condition of that place. The states of each step
are kept as the transformer saw them, and what the runs end with, as latents that can be noised
afresh. Its outputs are kept too, with the condition and, under guidance, without it, unless the
objective compares features: the teacher has to be asked again for these, and says both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from dit_accel.errors import DitAccelError
from dit_accel.integration.calls import argument_names, named_arguments, output_of

NAMES = ("states", "outputs", "latents")


@dataclass(frozen=True)
class TrajectoryRequest:
    """Which trajectories.

    Attributes:
        pipe: of the teacher, with its solver.
        denoising: how it runs.
        conditions: row of each trajectory in the condition table, `[N]`.
        levels: of the run.
        seed: of the first trajectory.
    """

    pipe: Any
    denoising: Denoising
    conditions: Tensor
    levels: NoiseLevels
    seed: int


class Trajectories:
    """A `Source` of states on trajectories.

    Args:
        request: which.
        arrays: where they are kept; of `NAMES`, all or all but the outputs.
    """

    def __init__(self, request: TrajectoryRequest, arrays: ArrayFolder) -> None:
        self.request, self.arrays = request, arrays

    def __len__(self) -> int:
        return len(self.request.conditions)

    @torch.no_grad()
    def make(self, samples: range) -> dict[str, np.ndarray]:
        """Run some of them: their rows of the arrays.

        Raises:
            DitAccelError: a number is beyond half precision.
        """
        request, pipe = self.request, self.request.pipe
        rows = request.conditions[list(samples)]
        seeds = [request.seed + i for i in samples]
        with _listening(pipe.transformer) as calls:
            found = request.denoising.latents(pipe, rows, seeds)
        guided, first = request.denoising.guided, find_backbone(pipe.transformer).conditional_first
        seen = [_by_sample(call, len(samples), guided, first) for call in calls]
        steps = {"states": [each for each, _ in seen], "outputs": [each for _, each in seen]}
        made = {
            name: _half(steps[name], name, samples) for name in steps if name in self.arrays.names
        }
        return {**made, "latents": _half([found], "latents", samples)[:, 0]}

    def batch(
        self, samples: Tensor, dropped: Tensor, step: int, generator: torch.Generator
    ) -> Batch:
        """As `Source.batch`; nothing is drawn."""
        conditions = self.request.conditions[samples].masked_fill(dropped, 0)
        timestep = self.request.levels.timesteps[step]
        outputs = None
        if "outputs" in self.arrays.names:
            outputs = self.arrays.read("outputs", samples, step, dropped.long())
        return Batch(
            states=self.arrays.read("states", samples, step),
            timesteps=torch.full((len(samples),), timestep),
            conditions=conditions,
            outputs=outputs,
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


def _half(steps: Sequence[Tensor], name: str, samples: range) -> np.ndarray:
    """Tensors `[B, ...]` of all steps as `[B, S, ...]` in half precision."""
    values = torch.stack([each.half().cpu() for each in steps], dim=1)
    bad = (~values.isfinite()).flatten(2).any(2).nonzero().tolist()
    if bad:
        sample, step = bad[0]
        raise DitAccelError(
            f"{name} of the teacher in trajectory {samples[sample]}, step {step}: got a number"
            f" beyond half precision, expected at most {torch.finfo(torch.half).max:.0f}; use"
            " mixed_precision: bf16 or no, and look whether the model is sound"
        )
    return values.numpy()
