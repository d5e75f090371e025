"""TaylorSeer's differences on scaled Hermite polynomials (HiCache, arXiv 2508.16984)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from dit_accel.forecast.predictors.hermite import hermite_weights
from dit_accel.forecast.predictors.nodes import Weights
from dit_accel.methods.caching.predictors.predictor import SnapshotPredictor
from dit_accel.methods.registry import register


@register("predictor", kind="hermite")
class Hermite(SnapshotPredictor):
    """`predictor: {kind: hermite, order: 2, sigma: 0.5}`.

    Args:
        order: highest difference, 0 to 4; the authors use 1 or 2.
        sigma: scale of the basis; 0.5 is the authors', `sqrt(1/2)` is exact for straight lines.
    """

    kind: Literal["hermite"] = "hermite"
    order: Annotated[int, Field(ge=0, le=4)] = 2
    sigma: Annotated[float, Field(gt=0.0)] = 0.5

    @property
    def snapshots(self) -> int:
        """One more than the order."""
        return self.order + 1

    def weights(self, steps: Sequence[int], target: int) -> Weights:
        """See `dit_accel.forecast.predictors.hermite`."""
        return hermite_weights(steps, target, self.order, self.sigma)
