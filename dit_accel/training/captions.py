"""What a crop shows, said in words, and read back from them.

A caption names the photograph, which part of it the crop shows, how near, and whether it is
mirrored: "a close view of the upper left of the astronaut photograph".  Several wordings say the
same, and a caption may leave part or nearness open.  All of it can be measured in a picture, so
that how well a model follows its prompts has a number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

import numpy as np

from .photos import PHOTOS

PHOTOGRAPHS = tuple(photo.label for photo in PHOTOS)

WORD_PATTERN = r"\w+|[^\w\s]"

CENTRE_MARGIN = 0.04
"""A crop is left (or upper) if its centre lies further than this from the middle."""
WHOLE_SIDE = 0.85
"""A central crop from this side on (share of the short side) shows the whole photograph."""
CLOSE_SIDE, FAR_SIDE = 0.75, 0.9
"""Sides below the first are close views, from the second on distant ones."""

OPEN_PART, OPEN_NEARNESS = 0.1, 0.2
"""How often a caption says nothing about the part, and about the nearness."""


class Part(Enum):
    """Which part of the photograph, by where the centre of the crop lies; mirrored or not."""

    UPPER_LEFT = "upper left"
    UPPER_MIDDLE = "upper middle"
    UPPER_RIGHT = "upper right"
    LEFT = "left"
    CENTRE = "centre"
    RIGHT = "right"
    LOWER_LEFT = "lower left"
    LOWER_MIDDLE = "lower middle"
    LOWER_RIGHT = "lower right"
    WHOLE = "whole"


class Nearness(Enum):
    """How near, by the side of the crop."""

    CLOSE = "close"
    MEDIUM = "medium"
    FAR = "far"


@dataclass(frozen=True)
class Description:
    """What a caption says; ``None`` where it leaves something open."""

    photograph: str | None
    part: Part | None
    nearness: Nearness | None
    mirrored: bool


def part_of(x: float, y: float, side: float) -> Part:
    """The part that a crop shows.

    Args:
        x: centre, as a share of the photograph's width from the left.
        y: centre, as a share of the photograph's height from the top.
        side: side, as a share of the photograph's short side.
    """
    part = list(Part)[3 * _third(y) + _third(x)]
    return Part.WHOLE if part is Part.CENTRE and side >= WHOLE_SIDE else part


def nearness_of(side: float) -> Nearness:
    """How near a crop of this side (share of the short side) seems."""
    if side < CLOSE_SIDE:
        return Nearness.CLOSE
    return Nearness.MEDIUM if side < FAR_SIDE else Nearness.FAR


def describe(photo: int, layout: tuple[float, float, float], mirrored: bool) -> Description:
    """All that can be said of a crop: its photograph's number, (x, y, side), and its mirroring."""
    return Description(PHOTOGRAPHS[photo], part_of(*layout), nearness_of(layout[2]), mirrored)


VIEWS = {
    Nearness.CLOSE: ("a close view of ", "a close up of ", "a near view of "),
    Nearness.MEDIUM: ("a medium view of ", "a middling view of "),
    Nearness.FAR: ("a distant view of ", "a far view of ", "a wide view of "),
    None: ("", "a view of ", "a crop of "),
}
"""How a caption begins, by nearness; ``None`` where it leaves that open."""
SYNONYMS = {"upper": ("upper", "top"), "lower": ("lower", "bottom"), "centre": ("centre", "center")}
"""Words of parts that have another."""
WHOLES = ("the whole of ", "all of ")
OBJECTS = ("the {} photograph", "the {} photo", "the {} picture", "the {}")
MIRRORINGS = (", mirrored", ", flipped")
"""How the whole photograph is named, the photograph itself, and that a crop is mirrored."""

_NEARNESS_WORDS = {
    Nearness.CLOSE: {"close", "near"},
    Nearness.MEDIUM: {"medium", "middling"},
    Nearness.FAR: {"distant", "far", "wide"},
}


def caption(description: Description, rng: np.random.Generator) -> str:
    """One of the wordings of a description that names its photograph."""
    target = _pick(OBJECTS, rng).format(description.photograph)
    text = _pick(VIEWS[description.nearness], rng) + _part_phrase(description.part, rng) + target
    return text + _pick(MIRRORINGS, rng) if description.mirrored else text


def training_caption(description: Description, rng: np.random.Generator) -> str:
    """A wording that may leave part or nearness open."""
    return caption(
        Description(
            description.photograph,
            None if rng.random() < OPEN_PART else description.part,
            None if rng.random() < OPEN_NEARNESS else description.nearness,
            description.mirrored,
        ),
        rng,
    )


def words(text: str) -> list[str]:
    """Lower-case words and punctuation marks of a text, as the tokenizer divides it."""
    return re.findall(WORD_PATTERN, text.lower())


def vocabulary() -> list[str]:
    """Every word of every caption, sorted."""
    phrases = [view for views in VIEWS.values() for view in views]
    phrases += [*WHOLES, *OBJECTS, *MIRRORINGS, "the part of", *PHOTOGRAPHS]
    phrases += [word for same in SYNONYMS.values() for word in same]
    phrases += [part.value for part in Part]
    return sorted({word for phrase in phrases for word in words(phrase.replace("{}", ""))})


def read_caption(text: str) -> Description:
    """What a text asks for, by the words it contains.

    ``None`` for whatever it does not mention, or of which it says different things ("left and
    right").
    """
    found = set(words(text))
    named = [label for label in PHOTOGRAPHS if label in found]
    return Description(
        photograph=named[0] if len(named) == 1 else None,
        part=_read_part(found),
        nearness=_read_nearness(found),
        mirrored=not found.isdisjoint(("mirrored", "flipped")),
    )


def _third(share: float) -> int:
    return 1 + (share > 0.5 + CENTRE_MARGIN) - (share < 0.5 - CENTRE_MARGIN)


_Item = TypeVar("_Item")


def _pick(options: Sequence[_Item], rng: np.random.Generator) -> _Item:
    return options[int(rng.integers(len(options)))]


def _part_phrase(part: Part | None, rng: np.random.Generator) -> str:
    if part is None:
        return ""
    if part is Part.WHOLE:
        return _pick(WHOLES, rng)
    name = " ".join(_pick(SYNONYMS.get(word, (word,)), rng) for word in part.value.split())
    return f"the {name} {_pick(('', 'part '), rng)}of "


def _read_part(found: set[str]) -> Part | None:
    if found & {"whole", "all"}:
        return Part.WHOLE
    heights = [name for name in ("upper", "lower") if not found.isdisjoint(SYNONYMS[name])]
    sides = [name for name in ("left", "right") if name in found]
    if len(heights) > 1 or len(sides) > 1:
        return None
    if heights:
        return Part(f"{heights[0]} {sides[0] if sides else 'middle'}")
    if sides:
        return Part(sides[0])
    return Part.CENTRE if found & {"centre", "center", "middle"} else None


def _read_nearness(found: set[str]) -> Nearness | None:
    said = [nearness for nearness, names in _NEARNESS_WORDS.items() if found & names]
    return said[0] if len(said) == 1 else None
