"""Compute the steps that `dit_accel.calibrate` found to lose least for a budget.

Dynamic programming over the measured errors of the calibrated predictor
(`dit_accel.forecast.decisions.computed_steps`), corrected by running the best candidates. What
tells it from policy `list`: the steps belong to the run that the plan's `calibration` describes,
and the plan is refused elsewhere.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from dit_accel.methods.caching.policies.listed_steps import ComputedSteps
from dit_accel.methods.caching.policies.policy import CacheAction, Policy
from dit_accel.methods.registry import register


@register("policy", kind="calibrated")
class CalibratedSteps(Policy):
    """`policy: {kind: calibrated, compute: [0, 1, 3, 6]}`, as `dit_accel.calibrate` writes it.

    Args:
        compute: indices of the computed steps, ascending from 0; all others are forecast.
    """

    is_fitted: ClassVar[bool] = True

    kind: Literal["calibrated"] = "calibrated"
    compute: ComputedSteps = (0,)

    def action(
        self, step: int, last: int | None, fraction: float, num_steps: int | None
    ) -> CacheAction:
        """Compute what was chosen."""
        return "compute" if last is None or step in self.compute else "forecast"
