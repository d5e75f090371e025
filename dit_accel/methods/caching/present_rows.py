"""The rows that a call holds, and what of their snapshots lies where in a ring.

For whoever looks at snapshots one by one, and not at a weighted sum of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dit_accel.methods.caching.timeline import RowTimeline
from dit_accel.tokens.grid import Grid


@dataclass(frozen=True)
class PresentRows:
    """The rows of a call, on the host.

    Attributes:
        timelines: of each.
        step: that of the call.
        rows_per_sample: how many of each sample are present; sample `b` of `B` owns `b, b + B, …`.
        token_grid: the grid of the tokens, `None` where nobody told.
    """

    timelines: Sequence[RowTimeline]
    step: int
    rows_per_sample: int
    token_grid: Grid | None


@dataclass(frozen=True)
class SpanHistory:
    """What is remembered of the rows of a call.

    Attributes:
        timelines: of each row.
        buffers: snapshots of each span, `[K, P, N, C]` in the order of the slots.
    """

    timelines: Sequence[RowTimeline]
    buffers: Sequence[torch.Tensor]


@dataclass(frozen=True)
class NewestFirst:
    """Where the newest snapshots of some rows lie.

    Attributes:
        slots: long `[K, P]`; a row that has fewer repeats its oldest.
        times: `[K, P]`, steps at which they were taken; distinct, made up where there are fewer.
    """

    slots: torch.Tensor
    times: torch.Tensor

    @classmethod
    def of(cls, timelines: Sequence[RowTimeline], count: int, device: torch.device) -> NewestFirst:
        """The `count` newest snapshots of each row; copies to the device do not make it wait."""
        slots = torch.tensor([_slots(timeline, count) for timeline in timelines])
        times = torch.tensor([_times(timeline, count) for timeline in timelines])
        return cls(*(each.mT.to(device, non_blocking=True) for each in (slots, times)))

    def take(self, buffer: torch.Tensor) -> torch.Tensor:
        """The snapshots in their order: `[slots, P, N, C] -> [K, P, N, C]`."""
        rows = torch.arange(buffer.shape[1], device=buffer.device)
        return buffer[self.slots, rows]


def _slots(timeline: RowTimeline, count: int) -> list[int]:
    oldest = max(len(timeline.steps), 1) - 1
    return [(timeline.slot - min(age, oldest)) % timeline.capacity for age in range(count)]


def _times(timeline: RowTimeline, count: int) -> list[int]:
    known = list(timeline.steps[:count]) or [0]
    return known + [known[-1] - 1 - age for age in range(count - len(known))]
