"""What policies look at as the first block is entered: its modulated input, or the last block.

The integration's part of it: it knows blocks and their arguments, where a `CacheRun` does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from dit_accel.backbones import Backbone
from dit_accel.methods.caching.cache_run import CacheRun
from dit_accel.methods.caching.verification import verify

Look = Callable[[nn.Module, torch.Tensor, dict[str, Any]], None]


class LastBlock(Protocol):
    """What runs a block as it runs in its turn."""

    def compute(self, hidden_states: torch.Tensor, kwargs: dict[str, Any]) -> torch.Tensor:
        """`[P, N, C] -> [P, N, C]`."""


@dataclass(frozen=True)
class InputLook:
    """Lets `run` decide by the input of the first block as its attention sees it."""

    run: CacheRun
    backbone: Backbone

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def __call__(
        self, block: nn.Module, hidden_states: torch.Tensor, arguments: Mapping[str, Any]
    ) -> None:
        """One host read, where there is something to decide."""
        signal = None
        if not self.run.is_follower:
            signal = self.backbone.modulated_input(block, hidden_states, arguments)
        self.run.judge(signal, hidden_states.device)


@dataclass(frozen=True)
class LastBlockLook:
    """Lets `run` decide by the last block, which is given the arguments of the first.

    All blocks of a stack have the same arguments but the hidden states.
    """

    run: CacheRun
    block: LastBlock

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(
        self, block: nn.Module, hidden_states: torch.Tensor, arguments: dict[str, Any]
    ) -> None:
        """One host read, where there is something to decide."""
        verify(self.run, hidden_states, lambda tokens: self.block.compute(tokens, arguments))


def look_of(run: CacheRun, backbone: Backbone, last: LastBlock) -> Look | None:
    """What the policy of `run` does as the first block is entered, if anything."""
    looks_at = run.config.policy.looks_at
    if looks_at == "input":
        return InputLook(run, backbone)
    return LastBlockLook(run, last) if looks_at == "last_block" else None
