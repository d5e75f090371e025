"""Compute every k-th step and forecast the others (FORA, arXiv 2407.01425; TaylorSeer's schedule).

The decision depends on the step alone, so it is taken before the run and costs nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal

from dit_accel.methods.caching.policies.policy import CacheAction, Policy
from dit_accel.methods.registry import register
from dit_accel.schedule import Schedule, within


@register("policy", kind="interval")
class Interval(Policy):
    """`policy: {kind: interval, interval: 3}`.

    The first and the last step are always computed.

    Args:
        interval: a step is computed when the last computed one lies so many steps back (1 is
            dense). A schedule makes it denser where it matters, for instance at both ends:
            `{schedule: steps, values: [1, 3, 1], at: [0.15, 0.9]}`.
    """

    kind: Literal["interval"] = "interval"
    interval: Annotated[Schedule, within(1)] = Schedule.constant(2)

    def action(
        self, step: int, last: int | None, fraction: float, num_steps: int | None
    ) -> CacheAction:
        """Compute the first step, the last, and whatever is due."""
        if last is None or (num_steps is not None and step == num_steps - 1):
            return "compute"
        return "compute" if step - last >= round(self.interval.scalar(fraction)) else "forecast"
