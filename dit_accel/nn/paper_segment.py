"""The recovery of FlexDiT / SparseDiT (arXiv 2412.06028) as it is published.

    recovered = U(Z) W1 + b1 + X W2 + b2,    W1 = 0, W2 = I, b1 = b2 = 0 at the start,

with ``P`` the windows of adaptive average pooling and ``U`` nearest-neighbour upsampling. A fresh
recovery is ``X``: what the sparse blocks made reaches the dense map through the cross-attention of
the recovery block alone, so the adapted model is far from the dense one until it is trained. ``W1``
is applied to the ``M`` sparse tokens, as it commutes with ``U``: ``(N - M) C^2`` less than in the
release, and the same result.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from dit_accel.nn.cast_linear import CastLinear
from dit_accel.nn.sparse_segment import Entered, SparseSegment
from dit_accel.tokens.adaptive import adaptive_pool
from dit_accel.tokens.cells import Cells


class PaperSegment(SparseSegment):
    """Recovery by two linear layers.

    Attributes:
        sparse: ``W1`` and ``b1``.
        dense: ``W2`` and ``b2``.
    """

    def __init__(self, channels: int, **factory: Any) -> None:
        super().__init__(channels, **factory)
        self.sparse = CastLinear(channels, channels, **factory)
        self.dense = CastLinear(channels, channels, **factory)
        nn.init.zeros_(self.sparse.weight)
        nn.init.eye_(self.dense.weight)
        nn.init.zeros_(self.sparse.bias)
        nn.init.zeros_(self.dense.bias)

    def pool(self, dense: Tensor, cells: Cells) -> Tensor:
        """The mean over windows that may overlap."""
        return adaptive_pool(dense, cells.full, cells.grid)

    def recover(self, sparse: Tensor, entered: Entered, cells: Cells) -> Tensor:
        """The equation above, which asks for ``X`` alone of what was entered with."""
        carried: Tensor = self.dense(entered.dense)
        return self._to_dense(self.sparse(sparse), cells) + carried
