"""Finite differences over the last gap, as published (TaylorSeer, arXiv 2503.06923)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from dit_accel.forecast.predictors.nodes import Weights
from dit_accel.forecast.predictors.taylor import taylor_weights
from dit_accel.methods.caching.predictors.predictor import SnapshotPredictor
from dit_accel.methods.registry import register


@register("predictor", kind="taylor")
class Taylor(SnapshotPredictor):
    """`predictor: {kind: taylor, order: 1}`.

    Args:
        order: highest difference, 0 to 4; the authors go up to 4. Exact to degree 1 only.
    """

    kind: Literal["taylor"] = "taylor"
    order: Annotated[int, Field(ge=0, le=4)] = 1

    @property
    def snapshots(self) -> int:
        """One more than the order."""
        return self.order + 1

    def weights(self, steps: Sequence[int], target: int) -> Weights:
        """See `dit_accel.forecast.predictors.taylor`."""
        return taylor_weights(steps, target, self.order)
