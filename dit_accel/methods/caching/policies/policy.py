"""What every policy has in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from dit_accel.methods.caching.judges.judge import Judge
from dit_accel.methods.caching.sites.site import Site
from dit_accel.methods.config import MethodConfig

LooksAt = Literal["nothing", "latents", "history", "input", "first_blocks", "last_block"]
"""What a decision is made of, hence when: `nothing`, the step alone; `latents`, what the model is
given, and `history`, what is remembered, before the network; `input`, the modulated input of the
first block, and `last_block`, its run on a forecast, as the first block is entered; `first_blocks`,
their residual, where they have run."""

CacheAction = Literal["compute", "forecast", "decide"]


class Policy(MethodConfig):
    """Which steps are computed; for policies that look at the data, which samples."""

    # What decides sample by sample while the step runs, at one read by the host a step.
    looks_at: ClassVar[LooksAt] = "nothing"
    # Snapshots that have to be kept for the policy, whatever the predictor needs.
    snapshots: ClassVar[int] = 0
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

    def judge(self, num_rows: int) -> Judge[Any] | None:
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
        if self.looks_at == "nothing" or not site.is_guidance:
            return None
        return (
            f"{self.method} decides sample by sample, and the guidance rows of all samples are left"
            " out together; use policy interval or list at site guidance"
        )

    def fits_run(self, num_steps: int) -> str | None:
        """Why this policy can't rule a run of `num_steps`; `None` where it can."""
        return None


def between_ends(
    step: int, last: int | None, num_steps: int | None, fraction: float, retention: float = 0.0
) -> CacheAction:
    """Decide in the middle of a run; its first steps and its last one are computed.

    Args:
        step: index of the step.
        last: the last step that was computed, `None` before the first.
        num_steps: how many there are, `None` if unknown.
        fraction: 0 at the first step of the run, 1 at the last.
        retention: share of the steps at the start that is computed.
    """
    if num_steps is None:
        computes = fraction < retention
    else:
        computes = step < retention * num_steps or step == num_steps - 1
    return "compute" if last is None or computes else "decide"
