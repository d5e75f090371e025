"""The output of the whole transformer, guidance included, as a prediction of the data.

Every step's output is made of those of several steps, so that errors of the solver and of guidance
that was left out are corrected together. Steps that are not computed do not call the transformer:
more such steps are a finer solver, not a slower one.
"""

from __future__ import annotations

from typing import Literal

from dit_accel.methods.caching.sites.site import Site
from dit_accel.methods.registry import register


@register("site", kind="output")
class OutputSite(Site):
    """`site: output`: written by `dit_accel.calibrate`, beside site `guidance`."""

    kind: Literal["output"] = "output"

    @property
    def is_output(self) -> bool:
        """Outputs are replaced, and whole calls left out."""
        return True

    def takes(self, predictor: str) -> str | None:
        """`multistep` alone."""
        if predictor == "multistep":
            return None
        return (
            f"{predictor} forecasts one value from others of its kind, and site output makes each"
            " output of conditional predictions and guidance differences; use predictor multistep,"
            " as dit_accel.calibrate writes it, or site model"
        )
