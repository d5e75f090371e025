"""Tells whether two methods that cannot share a cell (step x layer) of the run would do so."""

from dit_accel.errors import show
from dit_accel.methods.config import MethodConfig
from dit_accel.span import WHOLE, Span


def shared_cells(
    a: MethodConfig, b: MethodConfig, num_layers: int | None, num_steps: int | None
) -> str | None:
    """Return a message if `a` and `b` both remove tokens in some cell, else None.

    Args:
        a: config of a method that removes tokens.
        b: config of another.
        num_layers: layers of the model, or None before one is known.
        num_steps: steps of the run, or None before they are known.

    Spans in different units (indices against fractions) are compared only where the count is
    known: the same plan is checked again against the model and the run.
    """
    for name, count in (("layers", num_layers), ("steps", num_steps)):
        if not _overlap(a.limits.get(name, WHOLE), b.limits.get(name, WHOLE), count):
            return None
    return (
        f"{_where(a)} and {_where(b)} would both remove tokens in the same cells, expected at "
        "most one such method in a cell; give them 'layers' or 'steps' that do not overlap, "
        f"such as {a.family}: {{layers: [0.0, 0.5]}}, {b.family}: {{layers: [0.5, 1.0]}}"
    )


def _overlap(a: Span, b: Span, count: int | None) -> bool:
    if count is None:
        return bool(a.overlaps(b))
    first, second = a.resolve(count), b.resolve(count)
    return max(first.start, second.start) < min(first.stop, second.stop)


def _where(config: MethodConfig) -> str:
    """Name a method and the cells in which it acts, for instance ``merge (tome2d, layers …)``."""
    spans = "".join(
        f", {name} {show(config.limits.get(name, WHOLE).dump())}" for name in ("layers", "steps")
    )
    return f"{config.family} ({config.method}{spans})"
