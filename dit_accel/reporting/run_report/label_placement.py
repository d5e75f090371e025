"""Labels beside the points of a plot, so that none covers another, a point or a line."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

FONT_SIZE = 12.0
_HEIGHT = 1.35 * FONT_SIZE
_GAP = 2.0
_DESCENT = 0.35 * FONT_SIZE
_DISTANCES = (7.0, 11.0, 16.0, 24.0, 34.0, 46.0, 60.0, 78.0, 100.0, 126.0)
_DIRECTIONS = 16
# A leader is drawn where it is no longer plain which point a label belongs to.
_LEADER_FROM = 14.0
# Prices, in pixels of distance that the search goes further rather than pay them.
_COVERS_LABEL, _CROSSES_LABEL, _COVERS_POINT = 10_000.0, 200.0, 25.0

Spot = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def holds(self, spot: Spot) -> bool:
        """Whether ``spot`` lies inside."""
        return self.left <= spot[0] <= self.right and self.top <= spot[1] <= self.bottom

    def overlaps(self, other: Box) -> bool:
        """Whether the two share an area."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def nearest(self, spot: Spot) -> Spot:
        """The spot of the rectangle that is nearest to ``spot``."""
        x = min(max(spot[0], self.left), self.right)
        return x, min(max(spot[1], self.top), self.bottom)


@dataclass(frozen=True)
class Label:
    """Where a text starts, on its baseline, and the line to its point if it needs one."""

    text: str
    x: float
    y: float
    leader: tuple[Spot, Spot] | None


def text_width(text: str) -> float:
    """Pixels that ``text`` takes at most, in a sans-serif font as wide as DejaVu Sans."""
    return FONT_SIZE * sum(_em(character) for character in text)


def _em(character: str) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return 1.3  # emoji too
    if character in "il.,:;'|! ":
        return 0.35
    return 0.74 if character.isupper() or character in "mw+×" else 0.64


def sampled(start: Spot, end: Spot, spacing: float = 4.0) -> list[Spot]:
    """Spots along a line, near enough to each other that no label fits between."""
    count = max(1, math.ceil(math.dist(start, end) / spacing))
    shares = [index / count for index in range(count + 1)]
    return [
        (start[0] + s * (end[0] - start[0]), start[1] + s * (end[1] - start[1])) for s in shares
    ]


def place_labels(
    points: Sequence[tuple[str, Spot]], obstacles: Sequence[Spot], bounds: Box
) -> list[Label]:
    """Place a label near each point, one after the other, each where it costs least.

    Args:
        points: text and position of each.
        obstacles: spots that a label had better not cover: points, bars and lines.
        bounds: where labels may be.
    """
    taken: list[Box] = []
    spots = list(obstacles)
    labels = []
    for text, anchor in points:
        options = list(_options(text_width(text), anchor, bounds))
        box, distance = min(options, key=lambda option: _cost(option, anchor, taken, spots))
        leader = (anchor, box.nearest(anchor)) if distance > _LEADER_FROM else None
        taken.append(box)
        if leader is not None:
            spots += sampled(*leader)
        baseline = box.bottom - _DESCENT
        labels.append(Label(text, box.left + _GAP, baseline, leader))
    return labels


def _options(width: float, anchor: Spot, bounds: Box) -> Iterator[tuple[Box, float]]:
    half_width, half_height = width / 2 + _GAP, _HEIGHT / 2
    for distance in _DISTANCES:
        for index in range(_DIRECTIONS):
            angle = 2 * math.pi * index / _DIRECTIONS
            x = anchor[0] + math.cos(angle) * (distance + half_width)
            y = anchor[1] + math.sin(angle) * (distance + half_height)
            # Pushed back in, a label of a point at the edge still finds room beside it.
            x = min(max(x, bounds.left + half_width), bounds.right - half_width)
            y = min(max(y, bounds.top + half_height), bounds.bottom - half_height)
            yield Box(x - half_width, y - half_height, x + half_width, y + half_height), distance


def _cost(
    option: tuple[Box, float], anchor: Spot, taken: Sequence[Box], spots: Sequence[Spot]
) -> float:
    box, distance = option
    covered = sum(box.holds(spot) for spot in spots)
    overlapped = sum(box.overlaps(other) for other in taken)
    crossed = 0
    if distance > _LEADER_FROM:
        line = sampled(anchor, box.nearest(anchor))
        crossed = sum(any(map(other.holds, line)) for other in taken)
    price = _COVERS_POINT * covered + _CROSSES_LABEL * crossed + _COVERS_LABEL * overlapped
    return distance + price
