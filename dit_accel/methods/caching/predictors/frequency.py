"""Low spatial frequencies reused, high ones forecast (FreqCa, arXiv 2510.08669).

The maths is `dit_accel.forecast.predictors.frequency`. The published setting is `cutoff: 0.1` with
a Hermite forecast of order 2; here any linear predictor may make the high band.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import BeforeValidator, Field, SerializeAsAny

from dit_accel.forecast.predict import weighted_sum
from dit_accel.forecast.predictors.frequency import mix_bands
from dit_accel.forecast.predictors.nodes import Weights
from dit_accel.methods.caching.predictors.polynomial import Polynomial
from dit_accel.methods.caching.predictors.predictor import SnapshotPredictor
from dit_accel.methods.caching.present_rows import NewestFirst, PresentRows
from dit_accel.methods.reading import read_method
from dit_accel.methods.registry import register
from dit_accel.tokens.grid import Grid


@dataclass(frozen=True)
class _Prepared:
    """Where the newest snapshot of each row lies, and the grid of the tokens."""

    newest: NewestFirst
    grid: Grid


def _linear(value: Any) -> Any:
    high = read_method(value, "predictor")
    if not isinstance(high, SnapshotPredictor) or not high.is_linear:
        raise ValueError("expected a linear predictor; write for instance high: polynomial")
    return high


@register("predictor", kind="frequency")
class Frequency(SnapshotPredictor):
    """`predictor: {kind: frequency, cutoff: 0.1, high: {kind: polynomial, order: 2}}`.

    Args:
        high: the linear predictor of the high frequencies; a name, or a mapping with `kind`.
        cutoff: share of the frequencies of each axis of the token grid that is reused: 0 is `high`
            alone, 1 is reuse. 0.1 is the authors' and suits large grids; of 16 tokens a side it
            keeps two.
    """

    is_linear: ClassVar[bool] = False
    kind: Literal["frequency"] = "frequency"
    high: Annotated[SerializeAsAny[SnapshotPredictor], BeforeValidator(_linear)] = Polynomial(
        order=2
    )
    cutoff: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1

    @property
    def snapshots(self) -> int:
        """As many as the forecast of the high frequencies needs."""
        return self.high.snapshots

    def weights(self, steps: Sequence[int], target: int) -> Weights:
        """Those of the high frequencies."""
        return self.high.weights(steps, target)

    def prepare(self, rows: PresentRows, device: torch.device) -> _Prepared:
        """Where the newest snapshots lie."""
        assert rows.token_grid is not None
        return _Prepared(NewestFirst.of(rows.timelines, 1, device), rows.token_grid)

    def combine(
        self, snapshots: torch.Tensor, weights: torch.Tensor, prepared: _Prepared
    ) -> torch.Tensor:
        """The low band of the newest snapshot and the high band of the forecast."""
        newest = prepared.newest.take(snapshots)[0]
        forecast = weighted_sum(snapshots, weights)
        return mix_bands(newest, forecast, prepared.grid, self.cutoff)

    def to_dict(self) -> dict[str, Any]:
        """What differs from the defaults; `high` as a plan file holds it."""
        document = super().to_dict()
        return document | ({"high": self.high.to_dict()} if "high" in document else {})
