"""Skip while the norm of what is remembered is known to change little (MagCache, 2506.09045).

The ratios are measured once for a model, a solver and a number of steps
(`dit_accel.calibration.magnitudes`); with them every decision is taken before the run. A run of
another length takes the nearest of them, as in the release
(`dit_accel.forecast.decisions.magnitude`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dit_accel.forecast.decisions.magnitude import magnitude_mask, resampled_ratios
from dit_accel.methods.caching.policies.policy import CacheAction, Policy
from dit_accel.methods.registry import register


@register("policy", kind="magnitude")
class Magnitude(Policy):
    """`policy: {kind: magnitude, ratios: [1.0, 1.02, …], threshold: 0.06}`.

    Args:
        ratios: mean ratio of the norms of this step's residual and the last one's, one a step;
            that of the first step is not read. In a run of another length each step takes the
            nearest of them, which is lossy.
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
        """Compute what the rule says; in a run of unknown length everything beyond the ratios."""
        # Some dozens of additions; a step takes milliseconds.
        ratios = self.ratios if num_steps is None else resampled_ratios(self.ratios, num_steps)
        if last is None or step >= len(ratios):
            return "compute"
        mask = magnitude_mask(ratios, self.threshold, self.max_skips, self.retention)
        return "compute" if mask[step] else "forecast"
