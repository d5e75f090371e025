"""A linear multistep method: Adams-Bashforth with variable gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from dit_accel.forecast.predictors.adams import adams_weights
from dit_accel.forecast.predictors.nodes import Weights
from dit_accel.methods.caching.predictors.predictor import SnapshotPredictor
from dit_accel.methods.registry import register


@register("predictor", kind="adams")
class Adams(SnapshotPredictor):
    """`predictor: {kind: adams, order: 2}`.

    Args:
        order: slopes that are used: 0 (reuse), 1 (a straight line) or 2.
    """

    kind: Literal["adams"] = "adams"
    order: Annotated[int, Field(ge=0, le=2)] = 2

    @property
    def snapshots(self) -> int:
        """One more than the slopes."""
        return self.order + 1

    def weights(self, steps: Sequence[int], target: int) -> Weights:
        """See `dit_accel.forecast.predictors.adams`."""
        return adams_weights(steps, target, self.order)
