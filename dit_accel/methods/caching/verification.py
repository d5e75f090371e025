"""Forecast all blocks but the last, run that one, and let the policy compare (SpeCa)."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dit_accel.forecast.drift import relative_l1_change
from dit_accel.methods.caching.cache_run import CacheRun


def verify(
    run: CacheRun,
    hidden_states: torch.Tensor,
    last_block: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    """Decide by what the last block makes of the forecast of its input; one host read.

    Where nothing is open, or the guidance call before has decided against all forecasts, the last
    block is not run out of turn.

    Args:
        run: of a cache whose last span is the last block alone.
        hidden_states: input of the first block, `[P, N, C]`.
        last_block: to run, `[P, N, C] -> [P, N, C]`.
    """
    device, memory = hidden_states.device, run.memory
    if not run.is_open or run.is_told_all:
        run.judge(None, device)
        return
    memory.weigh(device)
    rings = [memory.rings[span[0]] for span in memory.spans]
    *others, expected = [memory.forecast(ring) for ring in rings]
    start = hidden_states
    for residual in others:
        start = start + residual.to(start.dtype)
    computed = last_block(start) - start
    error = relative_l1_change(computed.detach(), expected.to(computed.dtype))
    # Where it is accepted, what was computed takes the place of its forecast.
    for ring, pending in zip(rings, [*others, computed], strict=True):
        ring.pending = pending
    run.judge(error, device)
