"""Newton's polynomial through the computed steps at their true distances, damped if wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from dit_accel.forecast.predictors.nodes import Weights
from dit_accel.forecast.predictors.polynomial import newton_weights
from dit_accel.methods.caching.predictors.predictor import SnapshotPredictor
from dit_accel.methods.registry import register


@register("predictor", kind="polynomial")
class Polynomial(SnapshotPredictor):
    """`predictor: {kind: polynomial, order: 1, damping: 1.0}`.

    Args:
        order: degree, 0 to 3. 1 is the safe choice; 3 amplifies rounding.
        damping: share of each further degree that is kept: 1 is exact extrapolation, 0 is reuse.
    """

    kind: Literal["polynomial"] = "polynomial"
    order: Annotated[int, Field(ge=0, le=3)] = 1
    damping: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0

    @property
    def snapshots(self) -> int:
        """One more than the degree."""
        return self.order + 1

    def weights(self, steps: Sequence[int], target: int) -> Weights:
        """Divided differences, evaluated at `target`."""
        return newton_weights(steps, target, self.order, self.damping)
