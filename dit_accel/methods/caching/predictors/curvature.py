"""Each token by the group that its curvature puts it in (WorldCache, arXiv 2603.06331).

The maths is `dit_accel.forecast.predictors.curvature`: of the last three computed steps, tokens of
low curvature are reused, those between extrapolated in a straight line, those of high curvature
with a slope blended with the one before. The quantiles are of each sample alone, its guidance rows
in this call together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator

from dit_accel.errors import PlanError, Problem, mismatch
from dit_accel.forecast.predict import weighted_sum
from dit_accel.forecast.predictors.curvature import (
    LINEAR,
    NUM_SNAPSHOTS,
    curvature_groups,
    curvature_weights,
    token_motion,
    weights_of_tokens,
)
from dit_accel.forecast.predictors.nodes import Weights
from dit_accel.methods.caching.predictors.predictor import SnapshotPredictor
from dit_accel.methods.caching.present_rows import NewestFirst, PresentRows
from dit_accel.methods.registry import register


@dataclass(frozen=True)
class _Prepared:
    """Where the three newest snapshots lie, and the weights of the three groups `[3, K, P]`."""

    newest: NewestFirst
    table: torch.Tensor
    rows_per_sample: int


@register("predictor", kind="curvature")
class Curvature(SnapshotPredictor):
    """`predictor: {kind: curvature, stable: 0.2, chaotic: 0.8, max_skips: 2}`.

    Until a row was computed three times it is reused.

    Args:
        stable: share of the tokens, those of the lowest curvature, that is reused.
        chaotic: quantile of the curvature from which on the slope is blended with the one before.
        max_skips: forecasts in a row after which the older slope alone is left; that of the policy.
            The authors use `0.2, 0.8, 2`, and `0.3, 0.7, 6` for a larger model.
    """

    is_linear: ClassVar[bool] = False
    by_sample: ClassVar[bool] = True
    kind: Literal["curvature"] = "curvature"
    stable: Annotated[float, Field(ge=0.0, le=1.0)] = 0.2
    chaotic: Annotated[float, Field(ge=0.0, le=1.0)] = 0.8
    max_skips: Annotated[int, Field(ge=1)] = 2

    @model_validator(mode="after")
    def _in_order(self) -> Curvature:
        if self.stable > self.chaotic:
            found, expected = self.stable, f"at most chaotic, which is {self.chaotic}"
            raise PlanError(Problem("stable", mismatch(found, expected, "lower it")))
        return self

    @property
    def snapshots(self) -> int:
        """Three, for two velocities and their difference."""
        return NUM_SNAPSHOTS

    def weights(self, steps: Sequence[int], target: int) -> Weights:
        """Those of the linear group; the others are prepared beside."""
        weights: Weights = curvature_weights(steps, target, self.max_skips)[LINEAR]
        return weights

    def prepare(self, rows: PresentRows, device: torch.device) -> _Prepared:
        """The weights of all three groups, row by row."""
        made: dict[tuple[int, ...], Weights] = {(): np.zeros((3, 0))}
        columns = []
        for timeline in rows.timelines:
            steps = timeline.steps[:NUM_SNAPSHOTS]
            if steps not in made:
                made[steps] = curvature_weights(steps, rows.step, self.max_skips)
            columns.append([timeline.in_slots(weights) for weights in made[steps]])
        table = torch.from_numpy(np.stack(columns, axis=-1))
        newest = NewestFirst.of(rows.timelines, NUM_SNAPSHOTS, device)
        return _Prepared(newest, table.to(device, non_blocking=True), rows.rows_per_sample)

    def combine(
        self, snapshots: torch.Tensor, weights: torch.Tensor, prepared: _Prepared
    ) -> torch.Tensor:
        """Group the tokens, and weigh each as its group is."""
        motion = token_motion(prepared.newest.take(snapshots), prepared.newest.times)
        groups = curvature_groups(motion.kappa, self.stable, self.chaotic, prepared.rows_per_sample)
        table = prepared.table.to(weights.dtype)
        return weighted_sum(snapshots, weights_of_tokens(table, groups))
