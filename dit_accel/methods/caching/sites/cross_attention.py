"""The output of each block's attention to text (PAB, arXiv 2408.12588; T-GATE, 2404.02747)."""

from __future__ import annotations

from typing import ClassVar, Literal

from dit_accel.methods.caching.sites.module_site import ModuleSite
from dit_accel.methods.caching.sites.site import ModuleName
from dit_accel.methods.registry import register


@register("site", kind="cross_attention")
class CrossAttentionSite(ModuleSite):
    """`site: {kind: cross_attention, first: 0, last: -1}`: for models that read text.

    Args:
        first: first block whose cross-attention is remembered.
        last: last one, included; -1 is the model's last block.
    """

    modules: ClassVar[tuple[ModuleName, ...]] = ("cross_attention",)
    kind: Literal["cross_attention"] = "cross_attention"
