"""The images of two runs that come from the same seeds, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dit_accel.errors import DitAccelError
from dit_accel.scoring.features import BATCH_SIZE
from dit_accel.scoring.image_sets import RunImages
from dit_accel.scoring.metric_spec import Compare, PictureMetric, Value
from dit_accel.scoring.paired import mean_value
from dit_accel.scoring.reading_ahead import in_batches
from dit_accel.scoring.sources import PictureSource, Source


@dataclass(frozen=True)
class Pair:
    """Two runs, each cut down to the indices that both hold."""

    run: PictureSource
    baseline: PictureSource

    @property
    def count(self) -> int:
        """Images of each."""
        return len(self.run.images)


def run_images(source: Source) -> RunImages:
    """The images of a source that is a run.

    Raises:
        DitAccelError: it is none, so that nothing says which seeds its pictures come from.
    """
    images = source.images if isinstance(source, PictureSource) else None
    if not isinstance(images, RunImages):
        raise DitAccelError(
            f"{source.name}: is no run folder, so nothing says which picture comes from which "
            "seed; paired metrics compare two outputs of 'dit-accel sample'"
        )
    return images


def pair(source: Source, baseline: Source) -> Pair:
    """Pair two runs by index.

    Raises:
        DitAccelError: they are no runs, or have no index in common.
    """
    mine, theirs = run_images(source), run_images(baseline)
    common = {record.index for record in mine.records} & {r.index for r in theirs.records}
    if not common:
        raise DitAccelError(f"{baseline.name}: shares no index with {source.name}; check the path")
    sides = [
        side if len(images) == len(common) else PictureSource(images.only(common))
        for side, images in ((source, mine), (baseline, theirs))
    ]
    return Pair(*(side for side in sides if isinstance(side, PictureSource)))


@torch.no_grad()
def compare_pictures(
    pair: Pair, metrics: Sequence[PictureMetric], weights: Path | None, device: str
) -> list[tuple[PictureMetric, Compare, Value]]:
    """All metrics of picture pairs in one pass over both sets.

    Raises:
        DitAccelError: a picture has another size than its counterpart.
    """
    comparing = [(metric, metric.load(weights, device)) for metric in metrics]
    values: list[list[NDArray[np.float32]]] = [[] for _ in metrics]
    for pictures, others in _batches(pair):
        for (_, compare), found in zip(comparing, values, strict=True):
            found.append(compare.compare(pictures, others).float().cpu().numpy().reshape(-1))
    return [
        (metric, compare, mean_value(metric.name, metric.title, np.concatenate(found)))
        for (metric, compare), found in zip(comparing, values, strict=True)
    ]


def _batches(pair: Pair) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of both sets, uint8 ``[B, 3, H, W]``."""
    both = zip(
        in_batches(pair.run.images.images(), BATCH_SIZE),
        in_batches(pair.baseline.images.images(), BATCH_SIZE),
        strict=True,
    )
    for mine, theirs in both:
        if mine.shape != theirs.shape:
            raise DitAccelError(
                f"{pair.run.name}: pictures are {mine.shape[2]} x {mine.shape[1]}, those of "
                f"{pair.baseline.name} {theirs.shape[2]} x {theirs.shape[1]}; paired metrics need "
                "equal sizes"
            )
        yield _tensor(mine), _tensor(theirs)


def _tensor(batch: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()
