"""The output of each block's self-attention (FORA, SmoothCache, PAB: arXiv 2408.12588)."""

from __future__ import annotations

from typing import ClassVar, Literal

from dit_accel.methods.caching.sites.module_site import ModuleSite
from dit_accel.methods.caching.sites.site import ModuleName
from dit_accel.methods.registry import register


@register("site", kind="attention")
class AttentionSite(ModuleSite):
    """`site: {kind: attention, first: 0, last: -1}`.

    Args:
        first: first block whose attention is remembered.
        last: last one, included; -1 is the model's last block.
    """

    modules: ClassVar[tuple[ModuleName, ...]] = ("attention",)
    kind: Literal["attention"] = "attention"
