"""Compute when the first block's modulated input has moved far enough (TeaCache, 2411.19108).

`d_i = mean|m_i - m_{i-1}| / mean|m_{i-1}|` of the modulated input `m`, measured in every step, is
rescaled to a change of the output and added up until the sum reaches the threshold
(`dit_accel.forecast.decisions.input_change`). Unlike the original every sample has a sum of its
own; of its two guidance rows the one that moved more counts. All blocks can be left out, since the
input of the first is all that is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator

from dit_accel.errors import PlanError, Problem, mismatch
from dit_accel.forecast.decisions.input_change import PowerLaw, polynomial_change
from dit_accel.methods.caching.judges.input_change import InputChangeJudge
from dit_accel.methods.caching.judges.judge import Judge
from dit_accel.methods.caching.policies.policy import CacheAction, LooksAt, Policy, between_ends
from dit_accel.methods.registry import register
from dit_accel.schedule import Schedule, within


@register("policy", kind="input_change")
class InputChange(Policy):
    """`policy: {kind: input_change, threshold: 0.15}`. The last step is always computed.

    The output is expected to change by `factor * d ** exponent`, or by a polynomial of `d`. Without
    a fit to the model the default takes the change of the input for that of the output.

    Args:
        threshold: sum of expected relative changes at which a sample is computed again, at least 0
            (0 computes every step). The authors use 0.25 to 0.8 with their polynomial for FLUX;
            without a fit begin at 0.1 for 50 steps and 0.2 for 20.
        coefficients: of a polynomial as published, highest power first; instead of a power law.
        factor: of the power law, above 0.
        exponent: of the power law, at least 0.
    """

    looks_at: ClassVar[LooksAt] = "input"
    kind: Literal["input_change"] = "input_change"
    threshold: Annotated[Schedule, within(0)] = Schedule.constant(0.15)
    coefficients: tuple[float, ...] | None = Field(default=None, min_length=1)
    factor: Annotated[float, Field(gt=0.0)] = 1.0
    exponent: Annotated[float, Field(ge=0.0)] = 1.0

    @model_validator(mode="after")
    def _one_rescaling(self) -> InputChange:
        if self.coefficients is not None and (self.factor, self.exponent) != (1.0, 1.0):
            law = f"factor: {self.factor:g} and exponent: {self.exponent:g}"
            problem = mismatch(self.coefficients, f"none beside {law}", "keep one of the two")
            raise PlanError(Problem("coefficients", problem))
        return self

    def action(
        self, step: int, last: int | None, fraction: float, num_steps: int | None
    ) -> CacheAction:
        """The first and the last step are computed, the others are decided while they run."""
        if self.threshold.scalar(fraction) == 0:
            return "compute"
        return between_ends(step, last, num_steps, fraction)

    @property
    def _rescale(self) -> Callable[[torch.Tensor], torch.Tensor]:
        if self.coefficients is None:
            return PowerLaw(self.factor, self.exponent).__call__
        return partial(polynomial_change, coefficients=self.coefficients)

    def judge(self, num_rows: int) -> Judge[torch.Tensor]:
        """See `dit_accel.methods.caching.judges.input_change`."""
        return InputChangeJudge(num_rows, self._rescale, self.threshold.scalar)
