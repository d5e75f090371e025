"""One residual for the deep blocks; the shallow ones are computed in every step.

What a solver can't do: the shallow blocks see the present latents in every step, so that only the
slower part of the network is forecast.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dit_accel.methods.caching.sites.block_range import BlockRangeSite
from dit_accel.methods.registry import register


@register("site", kind="deep")
class DeepSite(BlockRangeSite):
    """`site: {kind: deep, first: 1, last: -1}`.

    Args:
        first: first block that is remembered; those before are always computed.
        last: last block that is remembered, included; -1 is the model's last, -2 the one before.
    """

    kind: Literal["deep"] = "deep"
    first: Annotated[int, Field(ge=0)] = 1

    def spans(self, num_layers: int, leading: int) -> list[range]:
        """The blocks from `first` to `last`."""
        blocks = self.blocks(num_layers)
        return [range(max(blocks.start, leading), blocks.stop)]
