"""How far two runs are apart, and what goes through a module while rewrites are at work."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

TOLERANCE = 1e-5
"""Relative error of fp32 that counts as rounding."""


def distance(a: Tensor, b: Tensor) -> float:
    """Relative error of `b` in the Frobenius norm, in float64."""
    return float((a.double() - b.double()).norm() / a.double().norm())


def farthest(a: Iterable[Tensor], b: Iterable[Tensor]) -> float:
    """The largest relative error of any step."""
    return max(distance(x, y) for x, y in zip(a, b, strict=True))


def rows_through(module: nn.Module) -> list[int]:
    """Rows of each call that reaches the module's own forward; to be asked for before a plan."""
    rows: list[int] = []
    original: Any = module.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        rows.append(len(next(iter((*args, *kwargs.values())))))
        return original(*args, **kwargs)

    module.forward = counted
    return rows
