"""Whether pictures show what their prompts ask for, as the ``ref`` network's heads see it.

A prompt is read by `training.captions.read_caption`: which of the 15 photographs, which part of
it, how near, and mirrored or not. The heads say the same of a picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from torch import Tensor

from dit_accel.metrics.estimate import Interval
from dit_accel.metrics.proportion import wilson_interval
from dit_accel.training.captions import PHOTOGRAPHS, Description, nearness_of, part_of

ATTRIBUTES = tuple(field.name for field in fields(Description))
"""What a prompt can ask for."""


@dataclass(frozen=True)
class Accuracy:
    """How many of the pictures that were asked for something show it.

    Attributes:
        hits: pictures that show it.
        count: pictures whose prompts ask for it, at least one.
    """

    hits: int
    count: int

    @property
    def share(self) -> float:
        """Hits of all that were asked, 0 to 1."""
        return self.hits / self.count

    @property
    def interval(self) -> Interval:
        """Wilson's 95 % interval of the share."""
        return wilson_interval(self.hits, self.count)


def seen(heads: Mapping[str, Tensor]) -> list[Description]:
    """What the heads see in each picture, in the words of the captions.

    Args:
        heads: ``photograph`` ``[B, 15]``, ``centre`` ``[B, 2]``, ``side`` ``[B]`` and ``mirrored``
            ``[B]``, as ``extractors.ref.RefExtractor.heads`` gives them.
    """
    photographs = heads["photograph"].argmax(1).tolist()
    sides, mirrorings = heads["side"].tolist(), (heads["mirrored"] > 0).tolist()
    return [
        Description(PHOTOGRAPHS[photo], part_of(x, y, side), nearness_of(side), mirrored)
        for photo, (x, y), side, mirrored in zip(
            photographs, heads["centre"].tolist(), sides, mirrorings, strict=True
        )
    ]


def judge(heads: Mapping[str, Tensor], descriptions: Sequence[Description]) -> dict[str, Accuracy]:
    """Compare pictures with what was asked for, attribute by attribute.

    A description that names no photograph is passed over: its other words ("a wide street") mean
    something else. One that names one asks for its mirroring too, and leaves open part or nearness
    where it says nothing of them. Each attribute is judged for itself, so that the right part of
    the wrong photograph counts as the right part.

    Args:
        heads: what the heads say of B pictures; see `seen`.
        descriptions: what was asked for, B of them in the same order.

    Returns:
        ``photograph``, ``part``, ``nearness`` and ``mirrored``, without those that nobody asked
        for.
    """
    pairs = [
        (shown, asked)
        for shown, asked in zip(seen(heads), descriptions, strict=True)
        if asked.photograph is not None
    ]
    outcomes = {
        name: [
            getattr(shown, name) == getattr(asked, name)
            for shown, asked in pairs
            if getattr(asked, name) is not None
        ]
        for name in ATTRIBUTES
    }
    return {name: Accuracy(sum(hits), len(hits)) for name, hits in outcomes.items() if hits}
