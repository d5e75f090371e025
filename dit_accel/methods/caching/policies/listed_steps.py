"""Compute the steps of a list."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator

from dit_accel.methods.caching.policies.policy import CacheAction, Policy
from dit_accel.methods.registry import register


def _ascending(steps: tuple[int, ...]) -> tuple[int, ...]:
    if not steps or steps[0] != 0 or any(b <= a for a, b in pairwise(steps)):
        raise ValueError(
            "expected step indices in ascending order from 0, because the first step has"
            " nothing to forecast from; write for instance [0, 2, 5]"
        )
    return steps


ComputedSteps: TypeAlias = Annotated[tuple[int, ...], AfterValidator(_ascending)]
"""Indices of computed steps in a plan."""


@register("policy", kind="list")
class ListedSteps(Policy):
    """`policy: {kind: list, compute: [0, 1, 3, 6]}`.

    Args:
        compute: indices of the computed steps, ascending from 0; all others are forecast.
    """

    kind: Literal["list"] = "list"
    # Not `steps`, which limits a method to a span of the run.
    compute: ComputedSteps

    def action(
        self, step: int, last: int | None, fraction: float, num_steps: int | None
    ) -> CacheAction:
        """Compute what is listed."""
        return "compute" if last is None or step in self.compute else "forecast"

    def fits_run(self, num_steps: int) -> str | None:
        """Steps beyond the run's are a mistake."""
        if self.compute[-1] < num_steps:
            return None
        return (
            f"policy.compute: got step {self.compute[-1]}, expected indices below {num_steps},"
            f" because the run has {num_steps} steps; write a list for this number of steps"
        )
