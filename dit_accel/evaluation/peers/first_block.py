"""diffusers' first-block cache (ParaAttention's FBCache): one decision for the whole batch."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from diffusers.hooks import FirstBlockCacheConfig, apply_first_block_cache
from pydantic import Field

import dit_accel
from dit_accel.errors import DitAccelError, mismatch
from dit_accel.evaluation.peers.diffusers_hooks import DiffusersHooks
from dit_accel.evaluation.peers.peer import Peer
from dit_accel.plan import Plan


class DiffusersFirstBlock(Peer):
    """`FirstBlockCacheConfig`: the residual of all later blocks is reused.

    Args:
        threshold: relative change of the first block's residual above which all is computed.
    """

    per_batch: ClassVar[bool] = True

    kind: Literal["diffusers_first_block"] = "diffusers_first_block"
    threshold: float = Field(default=0.05, gt=0)

    @property
    def label(self) -> str:
        """`diffusers first-block 0.05`."""
        return f"diffusers first-block {self.threshold:g}"

    def check(self, num_layers: int) -> None:
        """diffusers takes a head and a tail off the list of blocks.

        Raises:
            DitAccelError: there are not two blocks.
        """
        if num_layers < 2:
            text = mismatch(num_layers, "at least 2 blocks", "leave this peer out")
            raise DitAccelError(f"{self.kind}: {text}")

    def attach(self, pipe: Any, exact: Plan) -> DiffusersHooks:
        """Hook the blocks; the exact rewrites act inside of them."""
        dit_accel.accelerate(pipe, exact)
        config = FirstBlockCacheConfig(threshold=self.threshold)
        apply_first_block_cache(pipe.transformer, config)
        return DiffusersHooks(pipe.transformer)
