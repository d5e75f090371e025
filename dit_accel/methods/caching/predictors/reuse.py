"""The newest snapshot, unchanged (FORA, arXiv 2407.01425, and most others)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from dit_accel.forecast.predictors.nodes import Weights
from dit_accel.forecast.predictors.reuse import reuse_weights
from dit_accel.methods.caching.predictors.predictor import SnapshotPredictor
from dit_accel.methods.registry import register


@register("predictor", kind="reuse")
class Reuse(SnapshotPredictor):
    """`predictor: reuse`."""

    kind: Literal["reuse"] = "reuse"

    @property
    def snapshots(self) -> int:
        """One."""
        return 1

    def weights(self, steps: Sequence[int], target: int) -> Weights:
        """One for the newest."""
        return reuse_weights(steps, target)
