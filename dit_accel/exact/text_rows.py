"""Text embeddings that are kept: whether others are the same, and which rows of them are equal."""

from __future__ import annotations

from collections.abc import Sequence

import torch

# Values of a row that are looked at before whole rows are compared.
_PROBES = 64


class HeldText:
    """Text that something was computed from, held to be compared with.

    Equal in storage, layout and version is the same text without a look at the device, as pipelines
    pass it that keep it or slice it anew at each step. Text that was written to since is another
    one. Anything else is compared value by value (one read).
    """

    def __init__(self, text: torch.Tensor) -> None:
        # No version tells of writes to a tensor of inference mode: it is copied.
        self._text = text.clone() if text.is_inference() else text
        self._version = _version(self._text)

    def is_same(self, text: torch.Tensor) -> bool:
        """Whether `text` holds the values that this text had."""
        held = self._text
        if _version(held) != self._version:
            return False
        if _layout(text) == _layout(held) and not text.is_inference():
            return True
        if text.shape != held.shape or text.dtype != held.dtype or text.device != held.device:
            return False
        return text.device.type != "meta" and torch.equal(text, held)


def _version(text: torch.Tensor) -> int:
    return 0 if text.is_inference() else text._version


def _layout(text: torch.Tensor) -> tuple[object, ...]:
    storage = id(text) if text.device.type == "meta" else text.untyped_storage().data_ptr()
    return (storage, text.storage_offset(), text.shape, text.stride(), text.dtype, text.device)


def distinct_rows(text: torch.Tensor) -> tuple[list[int], list[int]]:
    """Which rows of `[R, L, D]` differ (two reads): their numbers, and for each row its place.

    ``text[rows][places]`` equals `text`. Rows that hold NaN equal none.
    """
    if text.device.type == "meta":
        return list(range(len(text))), list(range(len(text)))
    flat = text.flatten(1)
    probes = flat[:, :: max(1, flat.shape[1] // _PROBES)].tolist()
    first: dict[tuple[float, ...], int] = {}
    likely = [first.setdefault(tuple(probe), row) for row, probe in enumerate(probes)]
    equal = _rows_equal(flat, likely)
    leaders = [other if equal[row] else row for row, other in enumerate(likely)]
    rows = sorted(set(leaders))
    return rows, [rows.index(leader) for leader in leaders]


def _rows_equal(flat: torch.Tensor, others: Sequence[int]) -> list[bool]:
    pairs = [(row, other) for row, other in enumerate(others) if row != other]
    equal = [True] * len(others)
    if pairs:
        found = torch.stack([(flat[row] == flat[other]).all() for row, other in pairs]).tolist()
        for (row, _), same in zip(pairs, found, strict=True):
            equal[row] = same
    return equal
