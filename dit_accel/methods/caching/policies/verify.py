"""Forecast, run the last block on the forecast, accept or compute (SpeCa, arXiv 2509.11628).

The input of the last block is forecast and the block run on it. Where the residual it adds is close
to the forecast of that residual, the step is done, with the residual that was computed; else all
blocks are computed. Unlike the release, which uses the forecast that has failed and computes the
next step, a failing sample is computed in the same step, and every sample decides for itself; the
larger error of its two guidance rows counts (`dit_accel.forecast.decisions.verify`). A low error is
necessary, not sufficient: it says nothing of how far the trajectory has drifted.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator

from dit_accel.errors import PlanError, Problem, mismatch
from dit_accel.forecast.decisions.verify import verification_threshold
from dit_accel.methods.caching.judges.judge import Judge
from dit_accel.methods.caching.judges.verified import VerifiedJudge
from dit_accel.methods.caching.policies.policy import CacheAction, LooksAt, Policy, between_ends
from dit_accel.methods.caching.sites.site import Site
from dit_accel.methods.registry import register


@register("policy", kind="verify")
class Verify(Policy):
    """`policy: {kind: verify, base: 0.3, decay: 0.05}`, with `predictor: taylor`.

    An error of at most `max(floor, base * decay ** progress)` is accepted, `progress` from 0 to 1
    over the run. The last step is always computed. Every step costs one block more than it would.

    Args:
        base: the largest relative error that is accepted at the start (0 with `floor: 0` computes
            every step).
        decay: what is left of it at the end, as a factor.
        floor: it never falls below this.
        minimum: so many forecasts in a row are accepted whatever their error; 0 to check each, as
            suits runs of 25 steps and fewer.
        maximum: no more than so many in a row are accepted.
        retention: share of the steps at the start that is always computed; the release has 3 of
            50.
    """

    looks_at: ClassVar[LooksAt] = "last_block"
    kind: Literal["verify"] = "verify"
    base: Annotated[float, Field(ge=0.0)] = 0.3
    decay: Annotated[float, Field(gt=0.0, le=1.0)] = 0.05
    floor: Annotated[float, Field(ge=0.0)] = 0.01
    minimum: Annotated[int, Field(ge=0)] = 3
    maximum: Annotated[int, Field(ge=1)] = 8
    retention: Annotated[float, Field(ge=0.0, le=1.0)] = 0.06

    @model_validator(mode="after")
    def _in_order(self) -> Verify:
        if self.minimum > self.maximum:
            expected = f"at most maximum, which is {self.maximum}"
            raise PlanError(Problem("minimum", mismatch(self.minimum, expected, "lower it")))
        return self

    def action(
        self, step: int, last: int | None, fraction: float, num_steps: int | None
    ) -> CacheAction:
        """The first steps and the last are computed, the others are decided while they run."""
        if self.base == self.floor == 0:
            return "compute"
        return between_ends(step, last, num_steps, fraction, self.retention)

    def judge(self, num_rows: int) -> Judge[torch.Tensor]:
        """See `dit_accel.methods.caching.judges.verified`."""
        threshold = partial(
            verification_threshold, base=self.base, decay=self.decay, floor=self.floor
        )
        return VerifiedJudge(num_rows, threshold, self.minimum, self.maximum)

    def works_at(self, site: Site) -> str | None:
        """It needs a forecast of the last block's input, and of what it adds."""
        if site.method in ("model", "block"):
            return None
        return (
            f"verify runs the last block on a forecast of all blocks before it, and site"
            f" {site.method} does not remember them; use site model or block, or policy"
            " first_block"
        )
