"""The best linear combination of what is remembered and what enters now, fitted to one model.

For one step `i` of one solver, after the computed steps `j_1 > j_2 > …`,

    y_i = sum_k w_k y_{j_k} + v (x_i - x_{j_1}),

where `y` is what the site remembers and `x` what enters it: at blocks the input of the first
remembered one (at site `deep` it holds what the shallow blocks say of the present latents), at site
`guidance` the conditional output. `dit_accel.calibrate` fits the scalars and writes them here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from dit_accel.configuration.strict_model import StrictModel, built
from dit_accel.errors import RunError
from dit_accel.forecast.predictors.nodes import Weights
from dit_accel.methods.caching.predictors.predictor import SnapshotPredictor
from dit_accel.methods.caching.sites.site import Site
from dit_accel.methods.registry import register


class StepWeights(StrictModel):
    """The scalars of one forecast.

    Args:
        step: the step that is forecast.
        after: the steps that were computed last, newest first: the weights hold for these alone.
        weights: one a step of `after`.
        input: of the change of what enters since the newest of them.
    """

    step: Annotated[int, Field(ge=1)]
    after: Annotated[tuple[int, ...], Field(min_length=1)]
    weights: tuple[float, ...]
    input: float = 0.0

    @model_validator(mode="after")
    def _consistent(self) -> StepWeights:
        descending = (self.step, *self.after)
        ordered = all(a > b >= 0 for a, b in zip(descending, self.after, strict=False))
        if not ordered or len(self.weights) != len(self.after):
            raise ValueError(
                "expected as many weights as steps in 'after' and those descending from below"
                f" step {self.step}; calibrate again: dit_accel.calibrate writes these tables"
            )
        return self


@register("predictor", kind="calibrated")
class Calibrated(SnapshotPredictor):
    """`predictor: {kind: calibrated, table: […]}`, as `dit_accel.calibrate` writes it.

    Args:
        table: the weights of every forecast that the plan makes.
    """

    is_fitted: ClassVar[bool] = True

    kind: Literal["calibrated"] = "calibrated"
    table: tuple[Annotated[StepWeights, built(StepWeights)], ...] = ()

    @property
    def snapshots(self) -> int:
        """As many as the longest history in the table."""
        return max((len(row.after) for row in self.table), default=1)

    @property
    def inputs(self) -> int:
        """What enters, once."""
        return 1

    def works_at(self, site: Site) -> str | None:
        """Where `dit_accel.calibrate` fits it."""
        if not site.modules:
            return None
        return (
            f"calibrated is fitted to residuals of blocks, and site {site.method} remembers outputs"
            " of modules; use site deep or guidance, or predictor polynomial"
        )

    def weights(self, steps: Sequence[int], target: int) -> Weights:
        """Those of the table.

        Raises:
            RunError: the plan was not calibrated for this step after these.
        """
        return np.asarray(self._row(steps, target).weights, dtype=np.float64)

    def input_weights(self, steps: Sequence[int], target: int) -> Weights:
        """That of the table, `[1]`; raises as `weights`."""
        return np.asarray([self._row(steps, target).input], dtype=np.float64)

    def _row(self, steps: Sequence[int], target: int) -> StepWeights:
        # Some tens of rows, read once a step.
        for row in self.table:
            if row.step == target and row.after == tuple(steps):
                return row
        raise RunError(
            f"predictor calibrated: no weights for step {target} after the computed steps"
            f" {list(steps)}, because the plan was calibrated for another run; call"
            " dit_accel.calibrate for this one, or use predictor polynomial"
        )
