"""What every policy has in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import torch

from dit_accel.methods.caching.sites.site import Site
from dit_accel.methods.config import MethodConfig

CacheAction = Literal["compute", "forecast", "decide"]


class Policy(MethodConfig):
    """Which steps are computed; for policies that look at the data, which samples."""

    # Whether samples are decided one by one while the step runs, by how far the residual of the
    # first blocks has moved since they were last computed; one read by the host a step.
    per_sample: ClassVar[bool] = False

    @abstractmethod
    def action(
        self, step: int, last: int | None, fraction: float, num_steps: int | None
    ) -> CacheAction:
        """What is known of `step` before it runs.

        Args:
            step: index of the step.
            last: the last step that was computed, `None` before the first.
            fraction: 0 at the first step of the run, 1 at the last.
            num_steps: how many steps there are, `None` if unknown.
        """

    def needed(self, change: torch.Tensor, fraction: float) -> torch.Tensor:
        """Which samples are computed, bool `[B]`, by the change `[B]` of their first blocks."""
        return torch.ones_like(change, dtype=torch.bool)

    def works_at(self, site: Site) -> str | None:
        """Why this policy makes no sense at `site`, with the remedy; `None` where it does."""
        return None

    def fits_run(self, num_steps: int) -> str | None:
        """Why this policy can't rule a run of `num_steps`; `None` where it can."""
        return None
