"""The timesteps of a run, and which of its steps a timestep between two of them belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dit_accel.errors import UnsupportedError


@dataclass(frozen=True)
class NoiseLevels:
    """A run of `num_steps` steps of a solver over a noise schedule.

    Attributes:
        timesteps: at which the run evaluates the model, descending, one a step.
        alphas_cumprod: of the noise schedule, `[T]`.
        prediction_type: `epsilon`, `v_prediction` or `sample`.
    """

    timesteps: tuple[float, ...]
    alphas_cumprod: Tensor
    prediction_type: str

    @classmethod
    def of(cls, scheduler: Any, num_steps: int) -> NoiseLevels:
        """Those of a solver.

        Raises:
            UnsupportedError: it has no noise schedule of the DDPM kind.
        """
        alphas = getattr(scheduler, "alphas_cumprod", None)
        if alphas is None:
            raise UnsupportedError(
                f"run.scheduler: {type(scheduler).__name__} has no alphas_cumprod, expected a"
                " solver of a DDPM noise schedule (DDIM, DPMSolver++, UniPC, Euler)"
            )
        scheduler.set_timesteps(num_steps)
        return cls(
            tuple(float(timestep) for timestep in scheduler.timesteps),
            alphas.detach().cpu().float(),
            str(scheduler.config.prediction_type),
        )

    @property
    def num_steps(self) -> int:
        """Evaluations of the run."""
        return len(self.timesteps)

    def indices(self, timesteps: Tensor) -> Tensor:
        """Integer timesteps `[B]`: those in between, which Euler's solver asks for, are rounded."""
        return timesteps.round().long().clamp(0, len(self.alphas_cumprod) - 1)

    def interval(self, step: int) -> tuple[int, int]:
        """Integer timesteps `first, ..., last` that count as `step` of the run.

        All intervals together are the whole schedule, and so a step is drawn as often as its
        interval is long if timesteps are to be uniform.
        """
        last = len(self.alphas_cumprod) - 1 if step == 0 else round(self.timesteps[step])
        beyond = step + 1 >= self.num_steps
        first = 0 if beyond else round(self.timesteps[step + 1]) + 1
        return min(first, last), last

    def draw_step(self, steps: Sequence[int], generator: torch.Generator) -> int:
        """One of some steps, by the lengths of their intervals."""
        lengths = [self.interval(step)[1] - self.interval(step)[0] + 1 for step in steps]
        weights = torch.tensor(lengths, dtype=torch.float64)
        return steps[int(torch.multinomial(weights, 1, generator=generator))]
