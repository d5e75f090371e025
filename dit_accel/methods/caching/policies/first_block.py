"""Compute the first blocks, and the others only where their residual has changed enough.

The rule of First-Block Cache (ParaAttention; `diffusers.hooks.FirstBlockCacheConfig`): with `p` the
residual of the first block and `p_ref` the one at the last computed step, compute when
`mean|p - p_ref| / mean|p_ref| > threshold`. Unlike the originals, which take one decision for the
whole batch, the decision here is taken for each sample alone (its guidance rows together, the
larger change of the two counts) and only the rows that need it are computed. At the site `deep` all
blocks before it are looked at, as in cache-dit with `Fn_compute_blocks` above 1.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch

from dit_accel.methods.caching.judges.first_blocks import FirstBlocksJudge
from dit_accel.methods.caching.judges.judge import Judge
from dit_accel.methods.caching.policies.policy import CacheAction, LooksAt, Policy
from dit_accel.methods.caching.sites.site import Site
from dit_accel.methods.registry import register
from dit_accel.schedule import Schedule, within


@register("policy", kind="first_block")
class FirstBlock(Policy):
    """`policy: {kind: first_block, threshold: 0.1}`.

    Args:
        threshold: relative L1 change above which a sample is computed, at least 0 (0 computes
            whatever changes). Fewer steps mean larger changes: 0.05 suits 50 steps, 0.1 to 0.3
            suit 20.
    """

    looks_at: ClassVar[LooksAt] = "first_blocks"
    kind: Literal["first_block"] = "first_block"
    threshold: Annotated[Schedule, within(0)] = Schedule.constant(0.1)

    def action(
        self, step: int, last: int | None, fraction: float, num_steps: int | None
    ) -> CacheAction:
        """The first step is computed, the others are decided while they run."""
        return "compute" if last is None else "decide"

    def judge(self, num_rows: int) -> Judge[torch.Tensor]:
        """See `dit_accel.methods.caching.judges.first_blocks`."""
        return FirstBlocksJudge(num_rows, self.threshold.scalar)

    def works_at(self, site: Site) -> str | None:
        """It needs computed blocks to look at, before anything is left out."""
        if site.is_guidance:
            return (
                "first_block decides inside the network, and the guidance rows are left out before"
                " it begins; use policy interval or list at site guidance"
            )
        if getattr(site, "first", 1) < 1:
            return (
                "first_block looks at the blocks before the site, and site deep with first: 0 has"
                " none; set first to 1 or more"
            )
        return None
