"""What the caches of a plan do in the forward that begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dit_accel.integration.module_hooks import InnerRun
from dit_accel.integration.statistics import SiteCall
from dit_accel.methods.caching.cache_run import CacheRun
from dit_accel.methods.caching.guidance_run import GuidanceRun
from dit_accel.methods.caching.output_run import OutputRun


@dataclass(frozen=True)
class BegunCall:
    """What the caches do in the forward that begins.

    Attributes:
        runs: run states of the caches over blocks.
        modules: those of the caches inside the blocks, by their number in the plan.
        guidance: that of the guidance difference, where it is at work.
        output: that of the whole output, where it is at work.
        replaced: arguments of the transformer to be replaced: rows are left out.
        sites: to be counted.
    """

    runs: list[CacheRun] = field(default_factory=list)
    modules: Mapping[int, InnerRun] = field(default_factory=dict)
    guidance: GuidanceRun | None = None
    output: OutputRun | None = None
    replaced: Mapping[str, Any] = field(default_factory=dict)
    sites: list[SiteCall] = field(default_factory=list)

    @property
    def watcher(self) -> CacheRun | None:
        """The run whose policy looks at the latents and waits for the output."""
        watching = (run for run in self.runs if run.config.policy.looks_at == "latents")
        return next((run for run in watching if not run.is_follower), None)

    @property
    def skipped_layers(self) -> set[int]:
        """Blocks that do not run at all, as far as that is settled."""
        if self.output is not None and self.output.mode == "none":
            return set(range(self.output.num_layers))
        return {x for run in self.runs if run.mode == "none" for x in run.memory.rings}
