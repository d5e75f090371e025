"""Compute when the model's output must have moved too far, by how far its input has (EasyCache).

The rule of H-EmbodVis/EasyCache (`dit_accel.forecast.decisions.easy`): with `x` what the model is
given and `y` what it returns, `k = mean|y_i - y_{i-1}| / mean|x_i - x_{i-1}|` is measured at
computed steps; `k mean|x_i - x_{i-1}| / mean|y_{i-1}|` is added up until it reaches the threshold.
Known before the network runs, so that a forecast step runs no block at all. Unlike the original,
every sample has a rate and a sum of its own, its guidance rows together; `y_{i-1}` is the output of
the last step, computed or forecast.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from dit_accel.methods.caching.judges.judge import Judge
from dit_accel.methods.caching.judges.output_change import OutputChangeJudge
from dit_accel.methods.caching.policies.policy import CacheAction, LooksAt, Policy, between_ends
from dit_accel.methods.registry import register
from dit_accel.schedule import Schedule, within


@register("policy", kind="easy")
class Easy(Policy):
    """`policy: {kind: easy, threshold: 0.025}`. The last step is always computed.

    Args:
        threshold: sum of expected relative changes of the output at which a sample is computed
            again, at least 0 (0 computes every step). The authors use 0.025 for video in 50 steps;
            fewer steps mean larger changes, and 0.05 to 0.2 suit 20.
        retention: share of the steps at the start that is always computed. The authors' 5 of 50:
            the rate varies most there.
    """

    looks_at: ClassVar[LooksAt] = "latents"
    kind: Literal["easy"] = "easy"
    threshold: Annotated[Schedule, within(0)] = Schedule.constant(0.025)
    retention: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1

    def action(
        self, step: int, last: int | None, fraction: float, num_steps: int | None
    ) -> CacheAction:
        """The first steps and the last are computed, the others are decided while they run."""
        if self.threshold.scalar(fraction) == 0:
            return "compute"
        return between_ends(step, last, num_steps, fraction, self.retention)

    def judge(self, num_rows: int) -> Judge[torch.Tensor]:
        """See `dit_accel.methods.caching.judges.output_change`."""
        return OutputChangeJudge(num_rows, self.threshold.scalar)
