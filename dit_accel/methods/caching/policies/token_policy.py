"""What policies that choose tokens have in common: full steps, and how many tokens in between."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dit_accel.methods.caching.choosers.chooser import TokenChooser
from dit_accel.methods.caching.policies.policy import CacheAction, Policy
from dit_accel.run_state import Position
from dit_accel.tokens.grid import Grid


class TokenPolicy(Policy):
    """A policy for site `tokens`. Full steps come as with policy `interval`."""

    chooses_tokens: ClassVar[bool] = True
    # What it looks at in full steps: value vectors of self-attention, or feed-forward outputs.
    reads: ClassVar[Literal["values", "outputs"]]
    interval: Annotated[int, Field(ge=1)] = 3

    def action(
        self, step: int, last: int | None, fraction: float, num_steps: int | None
    ) -> CacheAction:
        """All tokens in the first step, the last, and whenever it is due."""
        if last is None or (num_steps is not None and step == num_steps - 1):
            return "compute"
        return "compute" if step - last >= self.interval else "forecast"

    @abstractmethod
    def count(
        self, position: Position, last: int, layer: int, num_layers: int, num_tokens: int
    ) -> int:
        """How many tokens of one layer are computed between full steps.

        Args:
            position: of the step.
            last: the last full step.
            layer: of the model.
            num_layers: blocks of the model.
            num_tokens: `N`.
        """

    @abstractmethod
    def choosers(
        self, layers: Sequence[int], num_rows: int, grid: Grid, seed: int
    ) -> Mapping[int, TokenChooser]:
        """The memory of each layer.

        Args:
            layers: whose modules are remembered.
            num_rows: rows of the batch.
            grid: of the tokens.
            seed: of the plan.
        """

    @abstractmethod
    def nbytes(self, num_layers: int, num_rows: int, num_tokens: int) -> int:
        """Bytes that the choosers of so many layers hold, for `explain`."""
