"""Image ``i`` ↔ its label or prompt, as a pure function of the config and ``i``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

Item = TypeVar("Item")


@dataclass(frozen=True)
class Conditions:
    """The condition of every image of a set, in order.

    Attributes:
        items: numbers of classes, or texts.
        identity: what decides them, whatever their number: the same rule makes the beginning of a
            longer set the same.
    """

    items: Sequence[int] | Sequence[str]
    identity: Mapping[str, Any]


def list_sha256(items: Sequence[int] | Sequence[str]) -> str:
    """SHA-256 of a list written as JSON."""
    return hashlib.sha256(json.dumps(list(items)).encode()).hexdigest()


class Cycled(Sequence[Item]):
    """``length`` items: item ``i`` is ``items[i % len(items)]``."""

    def __init__(self, items: Sequence[Item], length: int) -> None:
        self._items, self._length = items, length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        places = range(self._length)[index]
        if isinstance(places, range):
            return [self._items[place % len(self._items)] for place in places]
        return self._items[places % len(self._items)]
