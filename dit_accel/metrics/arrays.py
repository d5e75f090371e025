"""What every metric accepts: numpy arrays, torch tensors and nested lists of finite numbers."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from dit_accel.errors import DitAccelError, mismatch

Floats: TypeAlias = NDArray[np.floating[Any]]
Float64: TypeAlias = NDArray[np.float64]


class MetricError(DitAccelError):
    """Numbers that a metric refuses, because what came out would mean nothing."""


def as_array(values: Any, name: str) -> Floats:
    """Return `values` as a numpy array on the CPU, float32 and float64 kept, the rest float64."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        # numpy knows no bfloat16; float64 holds every torch float exactly.
        values = (values if values.dtype == torch.float32 else values.double()).numpy()
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        expected = "real numbers"
        raise MetricError(f"{name}: {mismatch(str(array.dtype), expected, 'convert them first')}")
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def as_features(values: Any, name: str, *, dim: int | None = None, least: int = 1) -> Floats:
    """Return features as an array `[N, D]`, or refuse them.

    Args:
        values: features `[N, D]`.
        name: how messages call them.
        dim: D, where it is given.
        least: smallest N.

    Raises:
        MetricError: for another shape, too few rows, or a NaN or infinity, naming its row.
    """
    array = as_array(values, name)
    if array.ndim != 2 or (dim is not None and array.shape[1] != dim):
        expected = f"[N, {'D' if dim is None else dim}]"
        remedy = "pass one row of features an image, from the same extractor throughout"
        raise MetricError(f"{name}: {mismatch(list(array.shape), f'shape {expected}', remedy)}")
    if len(array) < least:
        remedy = "add images"
        raise MetricError(f"{name}: {mismatch(len(array), f'at least {least} rows', remedy)}")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise MetricError(
            f"{name}: row {row} holds a NaN or an infinity, expected finite features; "
            "look at the image of that row and at the extractor's precision"
        )
    return array


def as_pair(a: Any, b: Any, names: tuple[str, str], *, least: int = 1) -> tuple[Floats, Floats]:
    """Return two sets of features `[N, D]` and `[M, D]` of the same extractor."""
    first = as_features(a, names[0], least=least)
    return first, as_features(b, names[1], dim=first.shape[1], least=least)
