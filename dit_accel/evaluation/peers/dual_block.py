"""cache-dit's DBCache with its Taylor calibrator: one decision for the whole batch.

cache-dit knows DiT and PixArt (`ForwardPattern.Pattern_3`, both guidance rows in one call). Three
things are done by hand, because each of its own ways would break something here:

* It patches `__call__` of the pipeline's *class*, for every pipeline of that class. The pipeline
  gets a class of its own.
* For DiT it replaces `transformer.forward`, which would throw off the hooks of the exact rewrites.
  So that goes first, the rewrites second, the swapping of the blocks last.
* It says several lines on the terminal for each pipeline, unless told not to.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any, ClassVar, Literal

from diffusers import DiTTransformer2DModel
from pydantic import Field

import dit_accel
from dit_accel.errors import DitAccelError, mismatch
from dit_accel.evaluation.peers.peer import Peer, tensor_bytes
from dit_accel.plan import Plan

PACKAGE = "cache_dit"


class CacheDit(Peer):
    """`DBCacheConfig` and, from `taylor: 1` on, `TaylorSeerCalibratorConfig`.

    Args:
        first: blocks at the beginning that are always computed (F).
        last: blocks at the end that are always computed (B).
        threshold: relative change of the first blocks' residual from which all is computed.
        warm_up: steps at the beginning that are computed (W).
        most_in_a_row: cached steps in a row, -1 for any number (MC).
        taylor: order of the forecast; 0 reuses.
    """

    per_batch: ClassVar[bool] = True

    kind: Literal["cache_dit"] = "cache_dit"
    first: int = Field(default=8, gt=0)
    last: int = Field(default=0, ge=0)
    threshold: float = Field(default=0.08, gt=0, lt=1)
    warm_up: int = Field(default=8, gt=0)
    most_in_a_row: int = Field(default=-1, ge=-1)
    taylor: int = Field(default=0, ge=0)

    @property
    def label(self) -> str:
        """`cache-dit F8 B0 W8 0.08`, then `MC2` and `T1` where they are set."""
        parts = [f"cache-dit F{self.first} B{self.last} W{self.warm_up} {self.threshold:g}"]
        parts += [f"MC{self.most_in_a_row}"] if self.most_in_a_row >= 0 else []
        parts += [f"T{self.taylor}"] if self.taylor else []
        return " ".join(parts)

    def check(self, num_layers: int) -> None:
        """Look for the package, and for a block in the middle.

        Raises:
            DitAccelError: there is none.
        """
        if find_spec(PACKAGE) is None:
            remedy = "run 'pip install cache-dit' (it is in the test extra), or leave it out"
            raise DitAccelError(f"{self.kind}: the package cache-dit is not installed; {remedy}")
        if self.first + self.last >= num_layers:
            expected = f"fewer than the {num_layers} blocks of the model"
            text = mismatch(self.first + self.last, expected, "lower first or last")
            raise DitAccelError(f"{self.kind}.first + last: {text}")

    def attach(self, pipe: Any, exact: Plan) -> _DualBlock:
        """Patch the model, put the rewrites on, swap the blocks."""
        os.environ.setdefault("CACHE_DIT_LOG_LEVEL", "error")  # read when it is imported
        import cache_dit
        from cache_dit.caching.patch_functors import DiTPatchFunctor

        pipe.__class__ = type(type(pipe).__name__, (type(pipe),), {})
        if isinstance(pipe.transformer, DiTTransformer2DModel):
            DiTPatchFunctor().apply(pipe.transformer)
        dit_accel.accelerate(pipe, exact)
        adapter = cache_dit.BlockAdapter(
            pipe=pipe,
            transformer=pipe.transformer,
            blocks=pipe.transformer.transformer_blocks,
            forward_pattern=cache_dit.ForwardPattern.Pattern_3,
            has_separate_cfg=False,
        )
        calibrator = None
        if self.taylor:
            calibrator = cache_dit.TaylorSeerCalibratorConfig(taylorseer_order=self.taylor)
        config = cache_dit.DBCacheConfig(
            Fn_compute_blocks=self.first,
            Bn_compute_blocks=self.last,
            residual_diff_threshold=self.threshold,
            max_warmup_steps=self.warm_up,
            max_continuous_cached_steps=self.most_in_a_row,
        )
        cache_dit.enable_cache(adapter, cache_config=config, calibrator_config=calibrator)
        return _DualBlock(pipe)


class _DualBlock:
    """cache-dit at work on one pipeline, whose every call begins anew."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe

    def begin(self) -> None:
        """The patched `__call__` does it."""

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers and of the calibrator's derivatives."""
        contexts = self._pipe._context_manager._cached_context_manager.values()
        kept: list[Any] = [context.buffers for context in contexts]
        for context in contexts:
            states = {} if context.calibrator is None else context.calibrator.states
            kept += [state.state for state in states.values()]
        return tensor_bytes(kept)
