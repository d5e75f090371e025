"""The difference of conditional and unconditional output under classifier-free guidance.

Where it is forecast, the unconditional rows do not go through the transformer at all: half of the
step is saved. The idea of FasterCache (arXiv 2410.19355) on the whole output; the difference varies
more slowly than either output does.
"""

from __future__ import annotations

from typing import Literal

from dit_accel.methods.caching.sites.site import Site
from dit_accel.methods.registry import register


@register("site", kind="guidance")
class GuidanceSite(Site):
    """`site: guidance`: works where both guidance rows of a sample are in one call.

    Runs without guidance, and those that call the transformer twice a step, are computed.
    """

    kind: Literal["guidance"] = "guidance"

    @property
    def is_guidance(self) -> bool:
        """Rows are left out."""
        return True
