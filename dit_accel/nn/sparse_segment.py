"""A density segment: blocks in a row that run on a coarser grid, and what is learned at its ends.

FlexDiT / SparseDiT (arXiv 2412.06028), "sparse-dense token module": the dense map ``X`` is pooled,
``Z0 = P X``, some blocks make ``Z`` of it, and a recovery makes a dense map of ``Z`` and ``X``. The
paper gives both kinds of tokens their position again where they change, without saying how; here

    Z0 <- P X + alpha * PE(H', W'),    recovered <- recovered + beta * PE(H, W)

with gains ``[C]`` that start at 0, so that a fresh segment is the stated function of the blocks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dit_accel.tokens.cells import Cells
from dit_accel.tokens.pool import unpool


class Entered(NamedTuple):
    """What a segment began with.

    Attributes:
        dense: ``X``, ``[B, N, C]``.
        pooled: ``P X``, ``[B, M, C]``.
        sparse: ``Z0``, ``P X`` with its position.
    """

    dense: Tensor
    pooled: Tensor
    sparse: Tensor


class SparseSegment(nn.Module, ABC):
    """What two forms of recovery have in common.

    Args:
        channels: ``C``.
        factory: ``device`` and ``dtype`` of the parameters.
    """

    def __init__(self, channels: int, **factory: Any) -> None:
        super().__init__()
        self.entry_position = nn.Parameter(torch.zeros(channels, **factory))
        self.exit_position = nn.Parameter(torch.zeros(channels, **factory))

    @abstractmethod
    def pool(self, dense: Tensor, cells: Cells) -> Tensor:
        """``P``, ``[B, N, C] -> [B, M, C]``."""

    @abstractmethod
    def recover(self, sparse: Tensor, entered: Entered, cells: Cells) -> Tensor:
        """The dense map ``[B, N, C]`` of ``Z`` (``[B, M, C]``) and what was entered with."""

    def enter(self, dense: Tensor, cells: Cells, positions: Tensor) -> Entered:
        """Pool ``X``.

        Args:
            dense: ``X``, ``[B, N, C]``.
            cells: its grid, and that of the sparse tokens.
            positions: ``PE(H', W')``, ``[M, C]``.
        """
        pooled = self.pool(dense, cells)
        sparse = pooled + (self.entry_position * positions).to(pooled.dtype)
        return Entered(dense, pooled, sparse)

    def leave(self, sparse: Tensor, entered: Entered, cells: Cells, positions: Tensor) -> Tensor:
        """The dense map ``[B, N, C]``; ``positions`` is ``PE(H, W)``, ``[N, C]``."""
        recovered = self.recover(sparse, entered, cells)
        return recovered + (self.exit_position * positions).to(recovered.dtype)

    @staticmethod
    def _to_dense(sparse: Tensor, cells: Cells) -> Tensor:
        """``U``, ``[B, M, C] -> [B, N, C]``."""
        return unpool(sparse, cells.full, cells.grid, cells)
