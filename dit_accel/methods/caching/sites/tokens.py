"""Attention and feed-forward of the blocks, of which the feed-forward is renewed token by token.

Between two full steps the attentions are forecast, and the feed-forward runs on the tokens that the
policy chooses; the others keep the forecast (ToCa, arXiv 2410.05317; DuCa, 2412.18911; ClusCa,
2509.10312). Attention is not run on chosen tokens: ToCa's weights bring its share to nothing.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from dit_accel.methods.caching.sites.module_site import ModuleSite
from dit_accel.methods.caching.sites.site import ModuleName
from dit_accel.methods.registry import register


@register("site", kind="tokens")
class TokensSite(ModuleSite):
    """`site: {kind: tokens, first: 0, last: -1}`, with a policy that chooses tokens.

    Args:
        first: first block whose modules are remembered.
        last: last one, included; -1 is the model's last block.
    """

    modules: ClassVar[tuple[ModuleName, ...]] = ("attention", "cross_attention", "feed_forward")
    kind: Literal["tokens"] = "tokens"
