"""diffusers' TaylorSeer (arXiv 2503.06923), told by name which modules of DiT and PixArt to hook.

Its own patterns match none of them: they end in `attn` and are matched in full, while the modules
are called `attn1` and `attn2`. Its `use_lite_mode` fits PixArt (`proj_out`) but leaves DiT
(`proj_out_2`) with blocks that return zeros and nothing that is forecast; `lite` here has the same
effect on both: blocks are left out, and the output of the last one is forecast.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from diffusers.hooks import TaylorSeerCacheConfig, apply_taylorseer_cache
from pydantic import Field

import dit_accel
from dit_accel.evaluation.peers.diffusers_hooks import DiffusersHooks
from dit_accel.evaluation.peers.peer import Peer
from dit_accel.plan import Plan

_SUBLAYERS = [r"transformer_blocks\.\d+\.(attn1|attn2|ff)"]


class DiffusersTaylorSeer(Peer):
    """`TaylorSeerCacheConfig`, with factors in the precision of the run.

    Args:
        interval: a computed step every so many steps.
        order: of the Taylor polynomial.
        warm_up: steps at the beginning that are computed.
        lite: forecast the last block's output, as `use_lite_mode`; or else the output of every
            attention and feed-forward, as the paper has it.
    """

    per_batch: ClassVar[bool] = False

    kind: Literal["diffusers_taylorseer"] = "diffusers_taylorseer"
    interval: int = Field(default=5, gt=1)
    order: int = Field(default=1, ge=0)
    warm_up: int = Field(default=3, gt=0)
    lite: bool = False

    @property
    def label(self) -> str:
        """`diffusers TaylorSeer N5 O1 W3`, with `lite` where it is."""
        lite = " lite" if self.lite else ""
        return f"diffusers TaylorSeer{lite} N{self.interval} O{self.order} W{self.warm_up}"

    def attach(self, pipe: Any, exact: Plan) -> DiffusersHooks:
        """Hook the modules; the exact rewrites act inside of them."""
        dit_accel.accelerate(pipe, exact)
        transformer = pipe.transformer
        config = TaylorSeerCacheConfig(
            cache_interval=self.interval,
            disable_cache_before_step=self.warm_up,
            max_order=self.order,
            taylor_factors_dtype=transformer.dtype,
            **_modules(len(transformer.transformer_blocks), self.lite),
        )
        apply_taylorseer_cache(transformer, config)
        return DiffusersHooks(transformer)


def _modules(num_layers: int, lite: bool) -> dict[str, Any]:
    if not lite:
        return {"cache_identifiers": _SUBLAYERS}
    *others, last = (rf"transformer_blocks\.{layer}" for layer in range(num_layers))
    return {"skip_predict_identifiers": others, "cache_identifiers": [last]}
