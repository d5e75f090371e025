"""Forecast step by step, corrected by the slope of the anchors (FoCa, arXiv 2508.16211)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from dit_accel.forecast.predictors.foca import foca_weights
from dit_accel.forecast.predictors.nodes import Weights
from dit_accel.methods.caching.predictors.predictor import SnapshotPredictor
from dit_accel.methods.registry import register


@register("predictor", kind="foca")
class Foca(SnapshotPredictor):
    """`predictor: {kind: foca, nodes: 3}`.

    Args:
        nodes: computed steps that are rolled out; with 2 it is a straight line.
    """

    kind: Literal["foca"] = "foca"
    nodes: Annotated[int, Field(ge=2, le=4)] = 3

    @property
    def snapshots(self) -> int:
        """The nodes."""
        return self.nodes

    def weights(self, steps: Sequence[int], target: int) -> Weights:
        """See `dit_accel.forecast.predictors.foca`."""
        return foca_weights(steps, target)
