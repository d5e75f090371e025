"""Class labels of a set: drawn uniformly, balanced, or listed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import overload

from dit_accel.errors import DitAccelError, did_you_mean, mismatch
from dit_accel.sampling.conditions import Conditions, Cycled, list_sha256
from dit_accel.sampling.conditions.text_files import line_error, lines_of, read_text

UNIFORM, BALANCED = "uniform", "balanced"
RULES = (UNIFORM, BALANCED)


@dataclass(frozen=True)
class ClassNames:
    """The classes of a model.

    Attributes:
        num_classes: classes that its label table has room for.
        names: name to number; empty where the model names none.
    """

    num_classes: int
    names: Mapping[str, int]

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """Classes that can be asked for: those with a name, or all where none has one.

        A label table may have more room than the model has seen classes.
        """
        return tuple(sorted(set(self.names.values()))) or tuple(range(self.num_classes))

    def number_of(self, label: int | str) -> int:
        """The number of a class given by name or number.

        Raises:
            DitAccelError: the model has no such class.
        """
        if isinstance(label, str):
            if label not in self.names:
                known = ", ".join(list(self.names)[:20]) + (", …" if len(self.names) > 20 else "")
                expected = f"one of {known}" if known else "a number (this model names no classes)"
                remedy = did_you_mean(label, self.names) + "correct the name, or give the number"
                raise DitAccelError(mismatch(label, expected, remedy))
            return self.names[label]
        if label not in self.numbers:
            expected = f"a number from {self.numbers[0]} to {self.numbers[-1]}"
            raise DitAccelError(mismatch(label, expected, "correct it or leave it out"))
        return label


class UniformLabels(Sequence[int]):
    """``length`` labels drawn independently and uniformly, each a function of (seed, i) alone.

    The convention of ADM and DiT for 50k-image sets, without their dependence on ranks. Drawn by
    SHA-256 rather than by a library's generator, so that no version of any library can change it;
    the bias of the remainder is below n / 2^64.

    Args:
        numbers: the classes.
        seed: of the set.
        length: images.
    """

    def __init__(self, numbers: Sequence[int], seed: int, length: int) -> None:
        self._numbers, self._seed, self._length = tuple(numbers), seed, length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> list[int]: ...

    def __getitem__(self, index: int | slice) -> int | list[int]:
        places = range(self._length)[index]
        if isinstance(places, range):
            return [self._draw(place) for place in places]
        return self._draw(places)

    def _draw(self, index: int) -> int:
        digest = hashlib.sha256(f"class label {self._seed} {index}".encode()).digest()
        return self._numbers[int.from_bytes(digest[:8], "big") % len(self._numbers)]


def label_conditions(
    labels: str | Sequence[int | str], classes: ClassNames, seed: int, num_samples: int | None
) -> Conditions:
    """The label of every image.

    Args:
        labels: ``uniform``, ``balanced``, a list of names and numbers, or the path of a text file
            with one of these a line. Lists cycle.
        classes: of the model.
        seed: of the set.
        num_samples: images; the length of the list by default.

    Raises:
        DitAccelError: a label that the model has not, an unreadable file, an empty list, or no
            number of images where there is no list to count.
    """
    if labels in RULES:
        return _by_rule(str(labels), classes.numbers, seed, num_samples)
    numbers = (
        _read_labels(labels, classes) if isinstance(labels, str) else _numbers(labels, classes)
    )
    if not numbers:
        found = labels or "the list"
        raise DitAccelError(f"data.labels: {found} is empty; give at least one label")
    return Conditions(Cycled(numbers, num_samples or len(numbers)), _identity("listed", numbers))


def _by_rule(rule: str, numbers: Sequence[int], seed: int, num_samples: int | None) -> Conditions:
    if num_samples is None:
        remedy = f"add 'num_samples: …', since 'labels: {rule}' goes on for ever"
        raise DitAccelError(f"num_samples: missing; {remedy}")
    identity = _identity(rule, numbers)
    if rule == UNIFORM:
        return Conditions(UniformLabels(numbers, seed, num_samples), identity)
    return Conditions(Cycled(numbers, num_samples), identity)


def _identity(rule: str, numbers: Sequence[int]) -> dict[str, str]:
    return {"kind": "labels", "rule": rule, "sha256": list_sha256(numbers)}


def _numbers(labels: Sequence[int | str], classes: ClassNames) -> list[int]:
    try:
        return [classes.number_of(label) for label in labels]
    except DitAccelError as error:
        raise DitAccelError(f"data.labels: {error}") from None


def _read_labels(source: str, classes: ClassNames) -> list[int]:
    """One label a line; a name or a number."""
    path = Path(source)
    if not path.is_file():
        expected = f"{' or '.join(RULES)}, a list, or the path of a text file that exists"
        remedy = did_you_mean(source, RULES) + f"a single class is a list too: [{source}]"
        raise DitAccelError("data.labels: " + mismatch(source, expected, remedy))
    numbers = []
    for number, line in enumerate(lines_of(read_text(path, "data.labels")), start=1):
        text = line.strip()
        try:
            label = int(text) if text.isascii() and text.isdigit() else text
            numbers.append(classes.number_of(label))
        except DitAccelError as error:
            raise line_error("data.labels", path, number, str(error)) from None
    return numbers
