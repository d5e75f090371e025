"""The delta form of a density segment: sparse blocks contribute their change.

    X <- X + U((Z - Z0) (I + A1) + b) + (X - U P X) A2,    A1 = A2 = 0, b = 0 at the start,

with ``P`` the mean over a partition of the grid and ``U`` its nearest-neighbour inverse. After
FlexDiT / SparseDiT (arXiv 2412.06028), whose own recovery starts by dropping the work of all sparse
blocks until it is trained. A fresh segment is ``X + U(F(P X) - P X)``: exact wherever the grid is
the full one, or tokens are constant over its cells and attention weighs these by their sizes.
``A1`` is a difference from the identity, so that half precision rounds, and weight decay draws to
zero, what was learned and not the identity.

Both matrices commute with ``U``, so there is one upsampling:

    X + X A2 + U((Z - Z0) (I + A1) + b - P X A2).

``A1`` costs ``M C^2`` and ``A2`` ``(N + M) C^2``; a segment without ``A2`` costs the former alone.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from dit_accel.nn.cast_linear import CastLinear
from dit_accel.nn.sparse_segment import Entered, SparseSegment
from dit_accel.tokens.cells import Cells
from dit_accel.tokens.pool import pool


class DeltaSegment(SparseSegment):
    """Recovery by change and detail.

    Args:
        channels: ``C``.
        detail: whether there is an ``A2``.
        factory: ``device`` and ``dtype`` of the parameters.

    Attributes:
        change: ``A1`` and ``b``.
        detail: ``A2``, if any.
    """

    def __init__(self, channels: int, detail: bool = True, **factory: Any) -> None:
        super().__init__(channels, **factory)
        self.change = CastLinear(channels, channels, **factory)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)
        self.detail: CastLinear | None = None
        if detail:
            self.detail = CastLinear(channels, channels, bias=False, **factory)
            nn.init.zeros_(self.detail.weight)

    def pool(self, dense: Tensor, cells: Cells) -> Tensor:
        """The mean over a partition."""
        return pool(dense, cells.full, cells.grid, cells)

    def recover(self, sparse: Tensor, entered: Entered, cells: Cells) -> Tensor:
        """The second equation above."""
        dense, change = entered.dense, sparse - entered.sparse
        change = change + self.change(change)
        if self.detail is not None:
            dense = dense + self.detail(dense)
            change = change - self.detail(entered.pooled)
        return dense + self._to_dense(change, cells)
