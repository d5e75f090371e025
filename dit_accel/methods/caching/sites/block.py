"""One residual for each block."""

from __future__ import annotations

from typing import Literal

from dit_accel.methods.caching.sites.site import Site
from dit_accel.methods.registry import register


@register("site", kind="block")
class BlockSite(Site):
    """`site: block`: as many times the memory of `model` as there are blocks.

    With a linear predictor the sum of the blocks' forecasts is the forecast of their sum, so this
    site gains nothing over `model` but the comparison with methods that are published so.
    """

    kind: Literal["block"] = "block"

    def spans(self, num_layers: int, leading: int) -> list[range]:
        """Every block by itself."""
        return [range(layer, layer + 1) for layer in range(leading, num_layers)]
