"""What every policy has in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

from dit_accel.methods.caching.judges.judge import Judge
from dit_accel.methods.caching.sites.site import Site
from dit_accel.methods.config import MethodConfig

LooksAt = Literal["nothing", "first_blocks"]
CacheAction = Literal["compute", "forecast", "decide"]


class Policy(MethodConfig):
    """Which steps are computed; for policies that look at the data, which samples."""

    # What decides sample by sample while the step runs, at one read by the host a step.
    looks_at: ClassVar[LooksAt] = "nothing"
    # Whether it chooses tokens that are computed in between: a `TokenPolicy`.
    chooses_tokens: ClassVar[bool] = False

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

    def judge(self, num_rows: int) -> Judge | None:
        """The memory that decisions sample by sample go by, for `R` rows; `None` without."""
        return None

    def by_layer(self, layers: Sequence[int]) -> list[tuple[tuple[int, ...], Policy]]:
        """What rules each of the remembered layers: groups of them that act alike.

        Raises:
            PlanError: this policy was made for another number of layers.
        """
        return [(tuple(layers), self)]

    def works_at(self, site: Site) -> str | None:
        """Why this policy makes no sense at `site`, with the remedy; `None` where it does."""
        return None

    def fits_run(self, num_steps: int) -> str | None:
        """Why this policy can't rule a run of `num_steps`; `None` where it can."""
        return None
