"""How fast a set was made, from what the manifest says about its batches.

Every record carries its batch's duration and end. Rates are images over wall clock, from the start
of the first batch to the end of the last; pauses between launches do not count: a gap of more than
ten median batches in which nobody worked is left out. Records are made some time after their batch
(those of a shard all at once), so batches are laid out as late as their records allow without two
of one process at the same time.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dit_accel.runs.records import ImageRecord

_PAUSE_IN_BATCHES = 10.0


@dataclass(frozen=True, slots=True)
class RankSpeed:
    """Speed of one rank, or of all together.

    Attributes:
        images: made.
        batches: in which they were made.
        wall_seconds: from the first batch's start to the last one's end, without pauses.
        images_per_second: `images` over `wall_seconds`.
        batch_seconds_median: of one batch.
        batch_seconds_iqr: distance of its quartiles.
        image_seconds_median: of one batch, divided by the images in it.
        image_seconds_iqr: distance of its quartiles.
    """

    images: int
    batches: int
    wall_seconds: float
    images_per_second: float
    batch_seconds_median: float
    batch_seconds_iqr: float
    image_seconds_median: float
    image_seconds_iqr: float


@dataclass(frozen=True, slots=True)
class Speed:
    """Speed of a set: of each rank, and of all ranks together."""

    ranks: dict[int, RankSpeed]
    total: RankSpeed


@dataclass(frozen=True, slots=True)
class _Batch:
    end: float
    seconds: float
    size: int
    images: int  # of it in the manifest: fewer if others made some of them as well

    @property
    def start(self) -> float:
        return self.end - self.seconds


def speed(records: Iterable[ImageRecord]) -> Speed | None:
    """Return the speed at which `records` were made, or None if there are none."""
    processes = _batches_of_processes(records)
    if not processes:
        return None
    by_rank: dict[int, list[_Batch]] = defaultdict(list)
    for (rank, _, _), batches in processes.items():
        by_rank[rank] += _one_after_the_other(batches)
    ranks = {rank: _speed(by_rank[rank]) for rank in sorted(by_rank)}
    return Speed(ranks, _speed([batch for batches in by_rank.values() for batch in batches]))


def _batches_of_processes(
    records: Iterable[ImageRecord],
) -> dict[tuple[int, str, int], list[_Batch]]:
    """Return the batches of each (rank, host, pid)."""
    members: dict[tuple[int, str, int, str], list[ImageRecord]] = defaultdict(list)
    for record in records:
        members[record.rank, record.host, record.pid, record.batch].append(record)
    processes: dict[tuple[int, str, int], list[_Batch]] = defaultdict(list)
    for (rank, host, pid, _), images in members.items():
        end = max(record.time for record in images)
        batch = _Batch(end, images[0].seconds, images[0].batch_size, len(images))
        processes[rank, host, pid].append(batch)
    return processes


def _one_after_the_other(batches: Iterable[_Batch]) -> list[_Batch]:
    laid_out: list[_Batch] = []
    free_until = math.inf
    for batch in sorted(batches, key=lambda batch: batch.end, reverse=True):
        laid_out.append(dataclasses.replace(batch, end=min(batch.end, free_until)))
        free_until = laid_out[-1].start
    return laid_out


def _speed(batches: Sequence[_Batch]) -> RankSpeed:
    seconds = np.array([batch.seconds for batch in batches])
    per_image = seconds / np.array([batch.size for batch in batches])
    images = sum(batch.images for batch in batches)
    wall = _wall_seconds(batches, float(np.median(seconds)))
    return RankSpeed(
        images=images,
        batches=len(batches),
        wall_seconds=wall,
        images_per_second=images / wall if wall > 0 else 0.0,
        batch_seconds_median=float(np.median(seconds)),
        batch_seconds_iqr=_iqr(seconds),
        image_seconds_median=float(np.median(per_image)),
        image_seconds_iqr=_iqr(per_image),
    )


def _wall_seconds(batches: Sequence[_Batch], median: float) -> float:
    ordered = sorted(batches, key=lambda batch: batch.start)
    wall, latest = 0.0, ordered[0].start
    for batch in ordered:
        gap = batch.start - latest
        if gap > _PAUSE_IN_BATCHES * median:
            latest = batch.start
        wall += max(0.0, batch.end - latest)
        latest = max(latest, batch.end)
    return wall


def _iqr(values: npt.NDArray[np.float64]) -> float:
    low, high = np.percentile(values, [25, 75])
    return float(high - low)
