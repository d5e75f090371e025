"""Compute the steps of a list."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import field_validator

from dit_accel.methods.caching.policies.policy import CacheAction, Policy
from dit_accel.methods.registry import register


@register("policy", kind="list")
class ListedSteps(Policy):
    """`policy: {kind: list, compute: [0, 1, 3, 6]}`.

    Args:
        compute: indices of the computed steps, ascending from 0; all others are forecast.
    """

    kind: Literal["list"] = "list"
    # Not `steps`, which limits a method to a span of the run.
    compute: tuple[int, ...] = (0,)

    @field_validator("compute")
    @classmethod
    def _ascending(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        return ascending_from_zero(steps)

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


def ascending_from_zero(steps: tuple[int, ...]) -> tuple[int, ...]:
    """The same steps.

    Raises:
        ValueError: they are not in ascending order, or the first step is not among them.
    """
    if not steps or steps[0] != 0 or any(b <= a for a, b in pairwise(steps)):
        raise ValueError(
            "expected step indices in ascending order from 0, because the first step has nothing"
            " to forecast from; write for instance [0, 2, 5]"
        )
    return steps
