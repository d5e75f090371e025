"""FlexDiT's blocks written out in plain torch from the weights of stock blocks; nothing of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Arguments = dict[str, Any]


def modulation(block: Any, arguments: Arguments) -> list[Tensor]:
    """shift1, scale1, gate1, shift2, scale2, gate2, `[B, 1, C]` each."""
    timestep = arguments["timestep"]
    if block.norm_type == "ada_norm_zero":
        emb = block.norm1.emb(timestep, arguments["class_labels"], hidden_dtype=torch.float64)
        six = block.norm1.linear(functional.silu(emb))
        return [part[:, None] for part in six.chunk(6, dim=1)]
    six = block.scale_shift_table[None] + timestep.reshape(len(timestep), 6, -1)
    return list(six.chunk(6, dim=1))


def norms(block: Any) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    zero = block.norm_type == "ada_norm_zero"
    return (block.norm1.norm, block.norm3) if zero else (block.norm1, block.norm2)


def attend(module: Any, queries: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention by hand."""

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (module.heads, -1)).transpose(1, 2)

    q, k, v = heads(module.to_q(queries)), heads(module.to_k(context)), heads(module.to_v(context))
    logits = q @ k.mT / q.shape[-1] ** 0.5
    if mask is not None:
        logits = logits + mask[:, None]
    out = (logits.softmax(-1) @ v).transpose(1, 2).flatten(2)
    result: Tensor = module.to_out[0](out)
    return result


def run_block(
    block: Any,
    x: Tensor,
    arguments: Arguments,
    context: Tensor | None = None,
    mean: bool = False,
    bias: Tensor | None = None,
) -> Tensor:
    """One block on `x`; keys and values of `context`, or the released all-ones attention.

    `bias` `[M]` is added to the logits of each key.
    """
    shift1, scale1, gate1, shift2, scale2, gate2 = modulation(block, arguments)
    first, second = norms(block)
    u = first(x) * (1 + scale1) + shift1
    if mean:
        count = x.shape[1]
        ones = torch.full((count, count), 1.0 / count, dtype=x.dtype)
        attention = block.attn1.to_out[0](ones @ block.attn1.to_v(u))
    else:
        other = u if context is None else first(context) * (1 + scale1) + shift1
        attention = attend(block.attn1, u, other, None if bias is None else bias[None, None])
    x = x + gate1 * attention
    if block.attn2 is not None:
        text, mask = arguments["encoder_hidden_states"], arguments["encoder_attention_mask"]
        x = x + attend(block.attn2, x, text, mask)
    changed: Tensor = x + gate2 * block.ff(second(x) * (1 + scale2) + shift2)
    return changed


def run_layout(
    blocks: list[Any],
    x: Tensor,
    arguments: Arguments,
    layout: dict[str, Any],
    pool: Callable[[Tensor], Tensor],
    unpool: Callable[[Tensor], Tensor],
    recover: Callable[[Tensor, Tensor, Tensor], Tensor],
    bias: Tensor | None = None,
) -> Tensor:
    """The whole stack; `recover` makes the dense map of (U(Z), U(Z0), X), `bias` is that of keys
    of the sparse tokens.
    """
    order = iter(blocks)
    merge, sparse, recovers, dense = layout["group"]
    for _ in range(layout.get("pooling", 0)):
        x = run_block(next(order), x, arguments, mean=True)
    for _ in range(layout.get("bottom", 0)):
        x = run_block(next(order), x, arguments)
    for _ in range(layout["segments"]):
        z = entered = pool(x)
        for _ in range(merge):
            z = run_block(next(order), z, arguments, context=x)
        for _ in range(sparse):
            z = run_block(next(order), z, arguments, bias=bias)
        x = recover(unpool(z), unpool(entered), x)
        for _ in range(recovers):
            x = run_block(next(order), x, arguments, context=z, bias=bias)
        for _ in range(dense):
            x = run_block(next(order), x, arguments)
    for _ in range(layout.get("dense", 0)):
        x = run_block(next(order), x, arguments)
    assert next(order, None) is None
    return x
