"""`compile`: `torch.compile` of each block, so that equal blocks share one compilation.

Off by default: it needs a compiler, and the first runs of a shape pay for the compilation.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


class RegionalCompile:
    """Compiles the blocks that are not compiled yet; `remove` takes the compilation off those."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        self._blocks = [block for block in blocks if block._compiled_call_impl is None]
        for block in self._blocks:
            block.compile()

    def remove(self) -> None:
        """Call the blocks' own code again."""
        for block in self._blocks:
            vars(block).pop("_compiled_call_impl", None)
