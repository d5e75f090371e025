"""The output of each block's feed-forward (FORA, arXiv 2407.01425; SmoothCache, 2411.10510)."""

from __future__ import annotations

from typing import ClassVar, Literal

from dit_accel.methods.caching.sites.module_site import ModuleSite
from dit_accel.methods.caching.sites.site import ModuleName
from dit_accel.methods.registry import register


@register("site", kind="feed_forward")
class FeedForwardSite(ModuleSite):
    """`site: {kind: feed_forward, first: 0, last: -1}`.

    Args:
        first: first block whose feed-forward is remembered.
        last: last one, included; -1 is the model's last block.
    """

    modules: ClassVar[tuple[ModuleName, ...]] = ("feed_forward",)
    kind: Literal["feed_forward"] = "feed_forward"
