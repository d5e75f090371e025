"""Skip while the norm of what is remembered is known to change little (MagCache, 2506.09045).

The ratios are measured once for a model, a solver and a number of steps
(`dit_accel.forecast.decisions.magnitude`); with them every decision is taken before the run.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dit_accel.forecast.decisions.magnitude import magnitude_mask
from dit_accel.methods.caching.policies.policy import CacheAction, Policy
from dit_accel.methods.registry import register


@register("policy", kind="magnitude")
class Magnitude(Policy):
    """`policy: {kind: magnitude, ratios: [1.0, 1.02, …], threshold: 0.06}`.

    Args:
        ratios: mean ratio of the norms of this step's residual and the last one's, one a step of
            the run; that of the first step is not read.
        threshold: largest accumulated error that is skipped: 0.06 in diffusers, 0.24 officially.
        max_skips: largest number of skipped steps in a row.
        retention: share of the steps at the start that is always computed.
    """

    kind: Literal["magnitude"] = "magnitude"
    ratios: tuple[Annotated[float, Field(gt=0.0)], ...] = Field(min_length=1)
    threshold: Annotated[float, Field(ge=0.0)] = 0.06
    max_skips: Annotated[int, Field(ge=0)] = 3
    retention: Annotated[float, Field(ge=0.0, le=1.0)] = 0.2

    def action(
        self, step: int, last: int | None, fraction: float, num_steps: int | None
    ) -> CacheAction:
        """Compute what the rule says; beyond the ratios everything."""
        if last is None or step >= len(self.ratios):
            return "compute"
        # Twenty additions; a step takes milliseconds.
        mask = magnitude_mask(self.ratios, self.threshold, self.max_skips, self.retention)
        return "compute" if mask[step] else "forecast"

    def fits_run(self, num_steps: int) -> str | None:
        """The ratios of another number of steps say nothing of this one."""
        if len(self.ratios) == num_steps:
            return None
        return (
            f"policy.ratios: got {len(self.ratios)} ratios, expected {num_steps}, one a step of the"
            " run; measure them at this number of steps"
        )
