"""What every rewrite is told of the forward that begins, and what it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch

from dit_accel.methods.cell import Operators

TensorForward: TypeAlias = Callable[..., torch.Tensor]

Key: TypeAlias = tuple[float, ...]
"""Timestep and conditions of a row: rows with equal keys have equal modulations."""


@dataclass(frozen=True)
class Forward:
    """One forward of the transformer, on the host.

    Attributes:
        arguments: the transformer's arguments by name.
        branch: 0 for the first call of this step, 1 for the second (separate guidance).
        layers: what the plan's methods do in each layer.
        keys: one a row; `None` where the arguments are not laid out as rows.
        upcoming: timesteps of the run in their order; empty if unknown.
        computed: those of the steps at which the blocks run, as far as that is settled.
        blocks_run: whether they run in this forward.
        guided: whether rows b and b + R/2 belong to one sample, `None` if nobody said so.
    """

    arguments: Mapping[str, Any]
    branch: int
    layers: Sequence[Operators]
    keys: list[Key] | None
    upcoming: Sequence[float]
    computed: Sequence[float]
    blocks_run: bool
    guided: bool | None

    @property
    def latents(self) -> torch.Tensor:
        """`[R, C, H, W]`."""
        latents: torch.Tensor = self.arguments["hidden_states"]
        return latents


class Rewrite(Protocol):
    """A rewrite at work on one transformer; its hooks are in place from its construction on."""

    def begin_forward(self, forward: Forward) -> dict[str, Any]:
        """Settle what the hooks do; returns arguments of the transformer to be replaced."""

    def stand_aside(self) -> None:
        """The forward that begins is computed as it would be without this rewrite."""

    def forget(self) -> None:
        """The run is over, or another one begins: free what belongs to it."""

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
