"""One residual for the whole network, before the output head."""

from __future__ import annotations

from typing import Literal

from dit_accel.methods.caching.sites.site import Site
from dit_accel.methods.registry import register


@register("site", kind="model")
class ModelSite(Site):
    """`site: model`. A policy that looks at the first block leaves that one out."""

    kind: Literal["model"] = "model"

    def spans(self, num_layers: int, leading: int) -> list[range]:
        """All blocks together."""
        return [range(leading, num_layers)]
