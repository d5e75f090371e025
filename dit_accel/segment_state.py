"""What the blocks of one density segment share while a forward runs, in the model's own grid."""

from __future__ import annotations

from typing import Any

import torch

from dit_accel.methods.sparse_density import SparseCell
from dit_accel.nn.sparse_segment import SparseSegment
from dit_accel.tokens.grid import Grid


class SegmentState:
    """Overwritten by each forward as it enters the segment.

    Nothing is let go of as it leaves: gradient checkpointing computes the blocks again in the
    opposite order.

    Args:
        parts: what is learned.

    Attributes:
        dense: the dense map that the segment began with, ``[R, N, C]``.
        entered: the sparse tokens before the first block, ``[R, M, C]``.
        left: those after the last, ``[R, M, C]``.
        grids: the dense grid and the sparse one.
        positions: embeddings of the sparse and of the dense grid, ``[M, C]`` and ``[N, C]``.
    """

    def __init__(self, parts: SparseSegment) -> None:
        self.parts = parts
        self.grids = (Grid(1, 1), Grid(1, 1))
        self.positions: tuple[torch.Tensor, torch.Tensor] | None = None
        self.forget()

    def __deepcopy__(self, memo: dict[int, Any]) -> SegmentState:
        # A copied transformer shares it, and finds out at its first call; tokens of a forward with
        # gradients could not be copied.
        return self

    def forget(self) -> None:
        """Let go of the tokens."""
        self.dense: torch.Tensor | None = None
        self.entered: torch.Tensor | None = None
        self.left: torch.Tensor | None = None

    def enter(self, dense: torch.Tensor, cell: SparseCell) -> torch.Tensor:
        """``[R, N, C] -> [R, M, C]``."""
        assert self.positions is not None
        self.dense = dense
        self.entered = self.parts.enter(dense, cell.full, cell.grid, self.positions[0])
        return self.entered

    def leave(self, sparse: torch.Tensor, cell: SparseCell) -> torch.Tensor:
        """``[R, M, C] -> [R, N, C]``."""
        assert self.positions is not None and self.dense is not None and self.entered is not None
        self.left = sparse
        return self.parts.leave(
            sparse, self.entered, self.dense, cell.full, cell.grid, self.positions[1]
        )
