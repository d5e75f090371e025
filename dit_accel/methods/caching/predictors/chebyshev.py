"""Barycentric weights at the computed steps (ChebBooster)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from dit_accel.forecast.predictors.chebyshev import chebyshev_weights
from dit_accel.forecast.predictors.nodes import Weights
from dit_accel.methods.caching.predictors.predictor import SnapshotPredictor
from dit_accel.methods.registry import register


@register("predictor", kind="chebyshev")
class Chebyshev(SnapshotPredictor):
    """`predictor: {kind: chebyshev, nodes: 3}`.

    Args:
        nodes: computed steps that are remembered, 2 to 5 as the authors have it.
    """

    kind: Literal["chebyshev"] = "chebyshev"
    nodes: Annotated[int, Field(ge=2, le=5)] = 3

    @property
    def snapshots(self) -> int:
        """The nodes."""
        return self.nodes

    def weights(self, steps: Sequence[int], target: int) -> Weights:
        """See `dit_accel.forecast.predictors.chebyshev`."""
        return chebyshev_weights(steps, target)
