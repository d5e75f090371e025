"""The delta form of a density segment: sparse blocks contribute their change.

    X <- X + U((Z - Z0) A1 + b) + (X - U P X) A2,    A1 = I, b = 0, A2 = 0 at the start,

with ``P`` the mean over a partition of the grid and ``U`` its nearest-neighbour inverse. After
FlexDiT / SparseDiT (arXiv 2412.06028), whose own recovery starts with ``A1 = 0`` and so drops the
work of all sparse blocks until it is trained. A fresh segment is ``X + U(F(P X) - P X)``: exact
wherever the grid is the full one or tokens are constant over equal cells. ``A1`` is applied to the
sparse tokens, since it commutes with ``U``; it costs ``M C^2`` and ``A2`` ``N C^2``.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from dit_accel.nn.cast_linear import CastLinear
from dit_accel.nn.sparse_segment import SparseSegment
from dit_accel.tokens.cells import Cells
from dit_accel.tokens.pool import pool


class DeltaSegment(SparseSegment):
    """Recovery by change and detail.

    Attributes:
        change: ``A1`` and ``b``.
        detail: ``A2``.
    """

    def __init__(self, channels: int, **factory: Any) -> None:
        super().__init__(channels, **factory)
        self.change = CastLinear(channels, channels, **factory)
        self.detail = CastLinear(channels, channels, bias=False, **factory)
        nn.init.eye_(self.change.weight)
        nn.init.zeros_(self.change.bias)
        nn.init.zeros_(self.detail.weight)

    def pool(self, dense: Tensor, cells: Cells) -> Tensor:
        """The mean over a partition."""
        return pool(dense, cells.full, cells.grid, cells)

    def recover(self, sparse: Tensor, entered: Tensor, dense: Tensor, cells: Cells) -> Tensor:
        """The equation above."""
        change = self._to_dense(self.change(sparse - entered), cells)
        detail = dense - self._to_dense(self.pool(dense, cells), cells)
        kept: Tensor = self.detail(detail)
        return dense + change + kept
