"""Each step's guided output made of the outputs of several steps, fitted to one model and solver.

The maths is in `dit_accel.forecast.predictors.multistep`. `dit_accel.calibrate` fits the scalars.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from dit_accel.configuration.strict_model import StrictModel, built
from dit_accel.errors import RunError
from dit_accel.methods.caching.predictors.predictor import Predictor
from dit_accel.methods.caching.sites.site import Site
from dit_accel.methods.registry import register

CUTOFF = 0.25
"""Share of the frequencies of each axis that is low."""


class MultistepRow(StrictModel):
    """The scalars of one step.

    Args:
        step: which.
        factors: `p, q` of the data prediction `p x + q y`.
        conditional: steps whose conditional predictions enter, newest first; the step itself
            first of all where it is computed.
        differences: steps whose guidance differences enter, newest first.
        low: weights of those, in this order, and last of the latents; below the cutoff.
        high: the same above it.
    """

    step: Annotated[int, Field(ge=0)]
    factors: tuple[float, float]
    conditional: tuple[int, ...]
    differences: tuple[int, ...] = ()
    low: tuple[float, ...]
    high: tuple[float, ...]

    @model_validator(mode="after")
    def _consistent(self) -> MultistepRow:
        terms = len(self.conditional) + len(self.differences) + 1
        if not self.conditional or not len(self.low) == len(self.high) == terms:
            raise ValueError(
                "expected one weight for each step of 'conditional' and 'differences' and one"
                " for the latents; calibrate again: dit_accel.calibrate writes these tables"
            )
        return self


@register("predictor", kind="multistep")
class Multistep(Predictor):
    """`predictor: {kind: multistep, table: […]}`, as `dit_accel.calibrate` writes it.

    Args:
        table: the scalars of every step.
        cutoff: share of the frequencies of each axis of the latents that is low.
    """

    is_fitted: ClassVar[bool] = True

    kind: Literal["multistep"] = "multistep"
    table: tuple[Annotated[MultistepRow, built(MultistepRow)], ...] = ()
    cutoff: Annotated[float, Field(ge=0.0, le=1.0)] = CUTOFF

    @property
    def snapshots(self) -> int:
        """Conditional predictions that are kept."""
        return max((len(row.conditional) for row in self.table), default=1)

    @property
    def differences(self) -> int:
        """Guidance differences that are kept."""
        return max((len(row.differences) for row in self.table), default=0)

    def works_at(self, site: Site) -> str | None:
        """The outputs alone are predictions of the data."""
        if site.method == "output":
            return None
        return (
            f"multistep combines predictions of the data, and site {site.method} remembers"
            " something else; use site output, or predictor calibrated"
        )

    def row(self, step: int) -> MultistepRow:
        """The scalars of a step.

        Raises:
            RunError: the plan was not calibrated for this step.
        """
        for row in self.table:
            if row.step == step:
                return row
        raise RunError(
            f"predictor multistep: no scalars for step {step}, because the plan was calibrated for"
            " another run; call dit_accel.calibrate for this one"
        )

    def check_history(
        self, row: MultistepRow, conditional: tuple[int, ...], differences: tuple[int, ...]
    ) -> None:
        """Refuse a run that has computed other steps than the one that was fitted.

        Raises:
            RunError: naming both.
        """
        if (row.conditional, row.differences) != (conditional, differences):
            raise RunError(
                f"predictor multistep: step {row.step} has scalars for the computed steps"
                f" {list(row.conditional)} and guidance of {list(row.differences)}, not for"
                f" {list(conditional)} and {list(differences)}; call dit_accel.calibrate for this"
                " run"
            )
