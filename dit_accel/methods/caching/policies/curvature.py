"""Compute again when the chaotic tokens have moved too far (WorldCache, arXiv 2603.06331).

Chaotic-prioritised adaptive skipping (`dit_accel.forecast.decisions.curvature_drift`): the moves of
each forecast, weighted by curvature and averaged over the tokens of the highest curvature, are
added up until the sum reaches the threshold. All of it follows from the last three computed steps,
hence each sample's skips are planned as it has been computed. Unlike the release, whose mean is
over all tokens of the batch, everything is of each sample alone, as the paper has it for one.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dit_accel.forecast.predictors.curvature import NUM_SNAPSHOTS
from dit_accel.methods.caching.judges.judge import Judge
from dit_accel.methods.caching.judges.planned_skips import PlannedSkipsJudge
from dit_accel.methods.caching.policies.policy import CacheAction, LooksAt, Policy, between_ends
from dit_accel.methods.caching.present_rows import SpanHistory
from dit_accel.methods.registry import register
from dit_accel.schedule import Schedule, within


@register("policy", kind="curvature")
class CurvaturePolicy(Policy):
    """`policy: {kind: curvature, threshold: 0.2, max_skips: 2}`, with `predictor: curvature`.

    The last step is always computed, and every sample three times before it is first forecast.
    Another predictor may go with it: the signal is that of WorldCache's own forecast all the same.

    Args:
        threshold: sum of the error signals at which a sample is computed again, at least 0 (0
            computes every step; anything above forecasts at least one step after a computed one).
            It is no universal figure: the authors use 0.2 for one model and 1.0 for another.
        max_skips: the most steps that are forecast in a row: 2 with a threshold of 0.2, 6 with 1.0.
        chaotic: quantile of the curvature from which on tokens count, 0.8 or 0.7.
        retention: share of the steps at the start that is always computed. The release has 10 of
            50.
    """

    looks_at: ClassVar[LooksAt] = "history"
    snapshots: ClassVar[int] = NUM_SNAPSHOTS
    kind: Literal["curvature"] = "curvature"
    threshold: Annotated[Schedule, within(0)] = Schedule.constant(0.2)
    max_skips: Annotated[int, Field(ge=1)] = 2
    chaotic: Annotated[float, Field(ge=0.0, le=1.0)] = 0.8
    retention: Annotated[float, Field(ge=0.0, le=1.0)] = 0.2

    def action(
        self, step: int, last: int | None, fraction: float, num_steps: int | None
    ) -> CacheAction:
        """The first steps and the last are computed, the others are decided as they begin."""
        if self.threshold.scalar(fraction) == 0:
            return "compute"
        return between_ends(step, last, num_steps, fraction, self.retention)

    def judge(self, num_rows: int) -> Judge[SpanHistory]:
        """See `dit_accel.methods.caching.judges.planned_skips`."""
        return PlannedSkipsJudge(self.chaotic, self.max_skips, self.threshold.scalar)
