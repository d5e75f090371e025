"""One step of a solver as a function of what the transformer says.

It is affine, `x' = s + b y`, for any state that the solver is in; and `y` is a prediction of the
data, `D = p x + q y`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from dit_accel.forecast.predictors.multistep import data_prediction

_NO_GAIN = 1e-6
"""Below, a step leaves the latents where they are, whatever the output: schedules whose last noise
level is that of their last timestep have one."""


@dataclass(frozen=True)
class SolverStep:
    """A step; tensors are `[B, C, h, w]`, float64.

    Attributes:
        latents: `x`, that enter it.
        sample: the same as the solver has them: once for each guidance row.
        p: factor of the latents in `D`.
        q: factor of the output in `D`.
        scheduler: that is about to take the step; what follows holds until it has.
        timestep: of the step.
        settings: other arguments of the scheduler's `step`.
    """

    latents: torch.Tensor
    sample: torch.Tensor
    p: float
    q: float
    scheduler: Any
    timestep: Any
    settings: Mapping[str, Any]

    def data_of(self, output: torch.Tensor) -> torch.Tensor:
        """`D` of an output."""
        return self.p * self.latents + self.q * output.double()

    def output_of(self, data: torch.Tensor) -> torch.Tensor:
        """The output that predicts `data`."""
        return (data - self.p * self.latents) / self.q

    def data_that_leads_to(self, latents: torch.Tensor) -> torch.Tensor | None:
        """`D` after which the step ends at `latents`; `None` if it moves nothing."""
        still = self._moved(0.0)
        gain = float((self._moved(1.0) - still).mean())
        return self.data_of((latents.double() - still) / gain) if abs(gain) > _NO_GAIN else None

    def _moved(self, value: float) -> torch.Tensor:
        # On a copy: a step moves what the solver remembers. In float64, because two
        # responses hardly differ where a step is short.
        state, output = copy.deepcopy(self.scheduler), torch.full_like(self.sample, value)
        step = type(self.scheduler).step
        settings = {**self.settings, "return_dict": False}
        moved: torch.Tensor = step(state, output, self.timestep, self.sample, **settings)[0]
        return moved[: len(self.latents)].double()


def solver_step(
    scheduler: Any, timestep: Any, sample: torch.Tensor, samples: int, settings: Mapping[str, Any]
) -> SolverStep:
    """The step that a scheduler is about to take.

    Args:
        scheduler: before it.
        timestep: of the step.
        sample: latents that enter it, `[B, C, h, w]` or both guidance rows `[2 B, C, h, w]`.
        samples: `B`.
        settings: other arguments of its `step`.
    """
    alpha_bar = float(scheduler.alphas_cumprod[round(float(timestep))])
    p, q = data_prediction(scheduler.config.prediction_type, alpha_bar)
    rows = sample.double()
    return SolverStep(rows[:samples], rows, p, q, scheduler, timestep, settings)
