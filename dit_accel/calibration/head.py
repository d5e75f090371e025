"""What a change of the hidden states before the output head does to the output.

A forecast of hidden states is as good as the output that is made of it. Their norm is a poor judge:
a few channels hold most of it, and the head's normalisation hardly lets them through. So errors are
measured through the head, linearised at the true hidden states: `J d`, exact to first order for the
small errors that forecasts have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from dit_accel.integration.calls import output_of

Forward = Callable[..., Any]


def through_head(
    forward: Forward,
    blocks: list[nn.Module],
    arguments: Mapping[str, Any],
    hidden_states: torch.Tensor,
    directions: torch.Tensor,
) -> torch.Tensor:
    """Directional derivatives of the output.

    Args:
        forward: of the transformer.
        blocks: its blocks; none of them is run.
        arguments: of the forward.
        hidden_states: what leaves the last block, `[R, N, C]`.
        directions: `[D, R, N, C]`.

    Returns:
        `[D, R, channels, h, w]`.
    """

    def head(hidden: torch.Tensor) -> torch.Tensor:
        with _bypassed(blocks, hidden):
            return output_of(forward(**arguments))

    def derivative(direction: torch.Tensor) -> torch.Tensor:
        moved: torch.Tensor = torch.func.jvp(head, (hidden_states,), (direction,))[1]
        return moved

    found: torch.Tensor = torch.func.vmap(derivative)(directions)
    return found


@contextmanager
def _bypassed(blocks: list[nn.Module], hidden_states: torch.Tensor) -> Iterator[None]:
    """Let all blocks pass their input on, and the last one return `hidden_states`."""
    own = [vars(block).get("forward") for block in blocks]
    for block in blocks:
        block.forward = lambda x, *args, **kwargs: x
    blocks[-1].forward = lambda *args, **kwargs: hidden_states
    try:
        yield
    finally:
        for block, forward in zip(blocks, own, strict=True):
            if forward is None:
                del block.forward
            else:
                block.forward = forward


def rows_of(value: Any, rows: slice | torch.Tensor, count: int) -> Any:
    """The given rows of an argument that has one entry for each of `count` rows."""
    if isinstance(value, Mapping):
        return {key: rows_of(item, rows, count) for key, item in value.items()}
    if torch.is_tensor(value) and value.ndim and len(value) == count:
        return value[rows]
    return value
