"""`compile`: `torch.compile` of each block, so that equal blocks share one compilation.

Off by default: it needs a compiler, and the first runs of a shape pay for the compilation.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

# Beyond 8 variants dynamo would silently run a block eagerly. A plan has as many as it has roles
# and grids: three grids of density `sparse` are ten.
_LIMIT = 64


class RegionalCompile:
    """Compiles the blocks that are not compiled yet; `remove` takes the compilation off those."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        self._blocks = [block for block in blocks if block._compiled_call_impl is None]
        for block in self._blocks:
            block.compile(**_options())

    def remove(self) -> None:
        """Call the blocks' own code again."""
        for block in self._blocks:
            vars(block).pop("_compiled_call_impl", None)


def _options() -> dict[str, Any]:
    known = inspect.signature(torch.compile).parameters  # it came after the oldest torch we take
    return {"recompile_limit": _LIMIT} if "recompile_limit" in known else {}
