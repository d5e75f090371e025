"""Independent references: plain torch forward hooks, numpy and loops; nothing of the methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def record(modules: Sequence[Any]) -> tuple[list[list[Tensor]], list[list[Tensor]], list[Any]]:
    """Record what goes into and comes out of each module; returns (inputs, outputs, handles)."""
    inputs: list[list[Tensor]] = [[] for _ in modules]
    outputs: list[list[Tensor]] = [[] for _ in modules]
    handles = []
    for index, module in enumerate(modules):

        def hook(_: Any, args: Any, kwargs: Any, output: Any, index: int = index) -> None:
            inputs[index].append(args[0] if args else kwargs["hidden_states"])
            outputs[index].append(output)

        handles.append(module.register_forward_hook(hook, with_kwargs=True))
    return inputs, outputs, handles


def extrapolate(history: Sequence[tuple[float, Tensor]], time: float, order: int) -> Tensor:
    """Lagrange's form of the polynomial through the last `order + 1` points, newest last."""
    points = list(history)[-(order + 1) :]
    total = torch.zeros_like(points[0][1])
    for i, (t_i, value) in enumerate(points):
        others = [t for j, (t, _) in enumerate(points) if j != i]
        total = total + float(np.prod([(time - t) / (t_i - t) for t in others])) * value
    return total


class ForecastingBlocks:
    """Stock blocks `[first, last]` of a transformer, whose summed residual may be forecast.

    A forecast replaces the output of block `last` by a plain torch hook; the head then runs on it.
    """

    def __init__(self, transformer: Any, first: int, order: int) -> None:
        self.blocks, self.first, self.order = transformer.transformer_blocks, first, order
        self.history: list[tuple[float, Tensor]] = []
        self.step, self.computes, self.start = 0, True, torch.empty(0)
        self.blocks[first].register_forward_pre_hook(self._enter, with_kwargs=True)
        self.blocks[-1].register_forward_hook(self._leave)

    def _enter(self, _: Any, args: Any, kwargs: Any) -> None:
        self.start = args[0] if args else kwargs["hidden_states"]

    def _leave(self, _: Any, args: Any, output: Tensor) -> Tensor:
        if self.computes:
            self.history.append((self.step, output - self.start))
            return output
        return self.start + extrapolate(self.history, self.step, self.order)


def attend(attention: Any, keys_of: torch.Tensor, queries_of: torch.Tensor) -> torch.Tensor:
    """Softmax attention of one row, `[M, C] -> [M, C]`, with the weights of `attention`."""
    heads = attention.heads
    q, k, v = (
        projection(x).unflatten(-1, (heads, -1)).transpose(0, 1)
        for projection, x in (
            (attention.to_q, queries_of),
            (attention.to_k, keys_of),
            (attention.to_v, keys_of),
        )
    )
    weights = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1)
    return attention.to_out[0]((weights @ v).transpose(0, 1).flatten(1))
