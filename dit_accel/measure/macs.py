"""Multiply-accumulates, counted from the operators that are really dispatched.

One MAC is one multiply-add; attention's two matrix products count like any other. On the meta
device nothing is computed, so that any model size is counted in a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


class MacCounter:
    """What was counted between entering and leaving ``count_macs``."""

    def __init__(self, mode: FlopCounterMode) -> None:
        self._mode = mode

    @property
    def total(self) -> int:
        """MACs so far."""
        return int(self._mode.get_total_flops()) // 2

    def module(self, name: str) -> int:
        """MACs so far inside the submodule ``name`` of whatever ran."""
        counts = self._mode.get_flop_counts()
        inside = (ops for path, ops in counts.items() if path.partition(".")[2] == name)
        return sum(sum(ops.values()) for ops in inside) // 2


@contextmanager
def count_macs() -> Iterator[MacCounter]:
    """Count every matrix product, convolution and attention dispatched in the block."""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as mode:
        yield MacCounter(mode)


def macs_of(call: Callable[[], Any]) -> int:
    """MACs of one call."""
    with count_macs() as counter:
        call()
    return counter.total


def macs_per_forward(transformer: nn.Module, inputs: Mapping[str, Any]) -> int:
    """MACs of one forward of ``transformer`` with these keyword arguments, all rows together."""
    return macs_of(lambda: transformer(**inputs))
