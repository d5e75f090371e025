"""Compute the first block, and the others only where its residual has changed enough.

The rule of First-Block Cache (ParaAttention; `diffusers.hooks.FirstBlockCacheConfig`): with `p` the
residual of the first block and `p_ref` the one at the last computed step, compute when
`mean|p - p_ref| / mean|p_ref| > threshold`. Unlike the originals, which take one decision for the
whole batch, the decision here is taken for each sample alone (its guidance rows together, the
larger change of the two counts) and only the rows that need it are computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch

from dit_accel.methods.cache import CacheAction, CacheConfig
from dit_accel.methods.registry import register
from dit_accel.schedule import Schedule, within

if TYPE_CHECKING:
    from dit_accel.plan import Plan


@register("cache", kind="first_block")
class FirstBlockCache(CacheConfig):
    """`cache: {policy: first_block, threshold: 0.1, predictor: polynomial, order: 1}`.

    What is remembered is the residual of the blocks after the first, whose output is always fresh.

    Args:
        threshold: relative L1 change above which a sample is computed, at least 0 (0 computes
            whatever changes). Fewer steps mean larger changes: 0.05 suits 50 steps, 0.1 to 0.3
            suit 20.
    """

    per_sample: ClassVar[bool] = True
    policy: Literal["first_block"] = "first_block"
    threshold: Annotated[Schedule, within(0)] = Schedule.constant(0.1)

    def action(
        self, step: int, last: int | None, fraction: float, num_steps: int | None
    ) -> CacheAction:
        """The first step is computed, the others are decided while they run."""
        return "compute" if last is None else "decide"

    def needed(self, change: torch.Tensor, fraction: float) -> torch.Tensor:
        """Samples whose first block changed by more than the threshold, bool `[B]`."""
        return change > self.threshold.scalar(fraction)

    def conflicts_with(self, plan: Plan) -> str | None:
        """A matching kept over the steps would depend on which batch-mates were computed."""
        if getattr(plan.merge, "reuse_steps", 1) > 1:
            return (
                "cache.policy first_block computes other rows at each step, so merge.reuse_steps"
                " must be 1; set it to 1 or use cache.policy interval"
            )
        return None
