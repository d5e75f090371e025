"""What predictors have in common, and what those have that forecast from snapshots of one site.

Most of these are weight vectors over raw snapshots, computed on the host in float64 from the true
positions of the computed steps (`dit_accel.forecast.predictors`). Others say how they `combine`
snapshots, and `prepare` what they need of the host for it before the step.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from dit_accel.forecast.predict import weighted_sum
from dit_accel.forecast.predictors.nodes import Weights
from dit_accel.methods.caching.present_rows import PresentRows
from dit_accel.methods.caching.sites.site import Site
from dit_accel.methods.config import MethodConfig


class Predictor(MethodConfig):
    """How a forecast is made of what is remembered."""

    # Whether a forecast is the weighted sum of the snapshots and nothing else.
    is_linear: ClassVar[bool] = True
    # Whether the rows of a sample are looked at together.
    by_sample: ClassVar[bool] = False

    @property
    @abstractmethod
    def snapshots(self) -> int:
        """`K`, the most snapshots that are kept."""

    @property
    def inputs(self) -> int:
        """How many snapshots of what enters the site are kept beside: 0 or 1."""
        return 0

    def works_at(self, site: Site) -> str | None:
        """Why this predictor makes no sense at `site`, with the remedy; `None` where it does."""
        if self.is_linear or not (site.is_guidance or site.modules):
            return None
        return (
            f"{self.method} looks at the tokens of the residual stream, and site {site.method}"
            " remembers something else; use predictor reuse or polynomial, or site model or deep"
        )


class SnapshotPredictor(Predictor):
    """One that makes its forecast of what one site gave at earlier steps."""

    @abstractmethod
    def weights(self, steps: Sequence[int], target: int) -> Weights:
        """Weights `[len(steps)]`, newest first.

        Args:
            steps: when the snapshots at hand were computed, newest first; at most `snapshots`.
            target: the step to forecast.
        """

    def input_weights(self, steps: Sequence[int], target: int) -> Weights:
        """Weights `[inputs]` of the change of what enters since the newest snapshot.

        Args:
            steps: as for `weights`.
            target: as for `weights`.
        """
        return np.empty(0)

    def prepare(self, rows: PresentRows, device: torch.device) -> Any:
        """What `combine` needs of the host, as tensors; done before the step, without waiting."""
        return None

    def combine(
        self, snapshots: torch.Tensor, weights: torch.Tensor, prepared: Any
    ) -> torch.Tensor:
        """The forecast `[P, N, C]`.

        Args:
            snapshots: `[K, P, N, C]`, in the order of the slots.
            weights: those of `weights` in the same order, `[K, P]`.
            prepared: by `prepare`.
        """
        return weighted_sum(snapshots, weights)
