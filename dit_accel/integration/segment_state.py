"""What the blocks of one density segment share while a forward runs, in the model's own grid."""

from __future__ import annotations

from typing import Any

import torch

from dit_accel.errors import UnsupportedError
from dit_accel.nn.sparse_segment import Entered, SparseSegment
from dit_accel.tokens.cells import Cells


class SegmentState:
    """Overwritten by each forward as it enters the segment.

    Where gradients are recorded nothing is let go of as it leaves: checkpointing computes the
    blocks again in the opposite order.

    Args:
        parts: what is learned.

    Attributes:
        entered: what the segment began with: the dense map, its mean, the sparse tokens.
        left: the sparse tokens after the last block, ``[R, M, C]``.
        cells: the dense grid and the sparse one, of the forward that runs.
        keeps: whether the tokens stay after the segment, for whoever looks at them.
        differentiates: whether the forward records gradients.
        positions: embeddings of the sparse and of the dense grid, ``[M, C]`` and ``[N, C]``.
    """

    def __init__(self, parts: SparseSegment) -> None:
        self.parts = parts
        self.keeps = self.differentiates = False
        self.cells: Cells | None = None
        self.positions: tuple[torch.Tensor, torch.Tensor] | None = None
        self.forget()

    def __deepcopy__(self, memo: dict[int, Any]) -> SegmentState:
        # A copied transformer shares it, and finds out at its first call; tokens of a forward with
        # gradients could not be copied.
        return self

    def forget(self) -> None:
        """Let go of the tokens."""
        self.entered: Entered | None = None
        self.left: torch.Tensor | None = None

    def enter(self, dense: torch.Tensor) -> torch.Tensor:
        """``[R, N, C] -> [R, M, C]``.

        Raises:
            UnsupportedError: under a reentrant checkpoint, which hides from the gradient what
                blocks hand each other beside their arguments.
        """
        if self.differentiates and not torch.is_grad_enabled():
            raise UnsupportedError(
                "gradient checkpointing: a reentrant one loses the gradients of density segments;"
                " expected use_reentrant=False, as diffusers' enable_gradient_checkpointing() has"
            )
        assert self.positions is not None and self.cells is not None
        self.entered = self.parts.enter(dense, self.cells, self.positions[0])
        return self.entered.sparse

    def leave(self, sparse: torch.Tensor) -> torch.Tensor:
        """``[R, M, C] -> [R, N, C]``."""
        assert self.positions is not None and self.cells is not None
        assert self.entered is not None
        self.left = sparse
        recovered = self.parts.leave(sparse, self.entered, self.cells, self.positions[1])
        if not (self.keeps or self.differentiates):
            self.forget()
        return recovered
