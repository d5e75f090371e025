"""What every predictor has in common.

All are weight vectors over raw snapshots, computed on the host in float64 from the true positions
of the computed steps (`dit_accel.forecast.predictors`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from dit_accel.forecast.predictors.nodes import Weights
from dit_accel.methods.config import MethodConfig


class Predictor(MethodConfig):
    """How a forecast is made of what is remembered."""

    @property
    @abstractmethod
    def snapshots(self) -> int:
        """`K`, the most snapshots that are kept."""

    @abstractmethod
    def weights(self, steps: Sequence[int], target: int) -> Weights:
        """Weights `[len(steps)]`, newest first.

        Args:
            steps: when the snapshots at hand were computed, newest first; at most `snapshots`.
            target: the step to forecast.
        """

    @property
    def inputs(self) -> int:
        """How many snapshots of what enters the site are kept beside: 0 or 1."""
        return 0

    def input_weights(self, steps: Sequence[int], target: int) -> Weights:
        """Weights `[inputs]` of the change of what enters since the newest snapshot.

        Args:
            steps: as for `weights`.
            target: as for `weights`.
        """
        return np.empty(0)
