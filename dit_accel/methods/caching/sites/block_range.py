"""What sites have in common that can be limited to some of the blocks."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from dit_accel.errors import PlanError, Problem, mismatch
from dit_accel.methods.caching.sites.site import Site


class BlockRangeSite(Site):
    """A site with `first` and `last`."""

    first: Annotated[int, Field(ge=0)] = 0
    last: int = -1

    @model_validator(mode="after")
    def _in_order(self) -> BlockRangeSite:
        if 0 <= self.last < self.first:
            expected = f"at least first, which is {self.first}, or -1 for the model's last block"
            raise PlanError(Problem("last", mismatch(self.last, expected, "raise it")))
        return self

    def blocks(self, num_layers: int) -> range:
        """From block `first` to block `last`, included.

        Raises:
            PlanError: the model has no such blocks.
        """
        last = self.last if self.last >= 0 else num_layers + self.last
        if not self.first <= last < num_layers:
            expected = f"first <= last < {num_layers}, because there are {num_layers} layers"
            remedy = f"write for instance {{kind: {self.method}, first: {min(1, num_layers - 1)}}}"
            found = {"first": self.first, "last": self.last}
            raise PlanError(Problem("cache.site", mismatch(found, expected, remedy)))
        return range(self.first, last + 1)
