"""What an extractor says about a set of pictures: a row of numbers each, or just statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from dit_accel.errors import DitAccelError
from dit_accel.extractors.extractor import Extractor
from dit_accel.metrics.feature_statistics import FeatureStatistics
from dit_accel.metrics.statistics_files import Moments
from dit_accel.scoring.reading_ahead import in_batches

Rows: TypeAlias = NDArray[np.float32]

BATCH_SIZE = 64
_CHUNK = 4096  # rows that are in float64 at a time


class Features:
    """Outputs of one extractor for one set, by the extractor's names for them.

    Args:
        look: gives ``[N, D]`` float32 by output; empty where only statistics are known. Called
            when rows are first asked for, and never again.
        statistics: mean and covariance by output; what is missing here is taken from the rows.
        name: of the set, for messages.
    """

    def __init__(
        self,
        look: Callable[[], Mapping[str, Rows]],
        statistics: Mapping[str, Moments] | None = None,
        *,
        name: str,
    ) -> None:
        self._look, self._statistics = look, dict(statistics or {})
        self.name = name

    @cached_property
    def _rows(self) -> Mapping[str, Rows]:
        return self._look()

    def has_rows(self, output: str = "features") -> bool:
        """Whether single pictures are known; looks at them if nobody did yet."""
        return output in self._rows

    def rows(self, output: str = "features") -> Rows:
        """One row ``[D]`` a picture, in the order of the set.

        Raises:
            DitAccelError: the set is known by its statistics alone, or has no such output.
        """
        if output not in self._rows:
            raise self._missing(f"no {output} of single images", self._rows)
        return self._rows[output]

    def statistics(self, output: str = "features") -> Moments:
        """Mean and covariance of an output.

        Raises:
            DitAccelError: the set has no such output.
        """
        if output not in self._statistics:
            if output not in self._rows:
                raise self._missing(f"no statistics of {output}", [*self._statistics, *self._rows])
            self._statistics[output] = moments_of(statistics_of(self._rows[output]))
        return self._statistics[output]

    def _missing(self, what: str, present: Iterable[str]) -> DitAccelError:
        found = ", ".join(present) or "nothing"
        return DitAccelError(
            f"{self.name}: {what} (it holds {found}); make a reference with "
            "'dit-accel reference DATA', or leave the metric out"
        )


def statistics_of(rows: Rows) -> FeatureStatistics:
    """Mean and covariance of ``[N, D]`` rows, a few thousand in float64 at a time."""
    statistics = FeatureStatistics(rows.shape[1])
    for start in range(0, len(rows), _CHUNK):
        statistics.update(rows[start : start + _CHUNK])
    return statistics


def moments_of(statistics: FeatureStatistics) -> Moments:
    """What a distance needs to know."""
    return Moments(statistics.mean, statistics.cov, statistics.n)


def look(
    images: Iterable[np.ndarray], extractors: Sequence[Extractor], batch_size: int = BATCH_SIZE
) -> Iterator[list[dict[str, Rows]]]:
    """Look at every picture once, with all extractors.

    Args:
        images: uint8 ``[H, W, 3]``; sizes may differ.
        extractors: networks that take uint8 ``[B, 3, H, W]``.
        batch_size: pictures of equal size that a network sees together.

    Yields:
        For every batch the outputs ``[B, D]`` float32 of each extractor, pictures in order.
    """
    for batch in in_batches(images, batch_size):
        pictures = torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()
        yield [
            {output: values.float().cpu().numpy() for output, values in extractor(pictures).items()}
            for extractor in extractors
        ]


def extract_rows(
    images: Iterable[np.ndarray], extractors: Sequence[Extractor], batch_size: int = BATCH_SIZE
) -> list[dict[str, Rows]]:
    """All outputs ``[N, D]`` of each extractor for all pictures; see `look`."""
    parts: list[dict[str, list[Rows]]] = [{} for _ in extractors]
    for batch in look(images, extractors, batch_size):
        for outputs, kept in zip(batch, parts, strict=True):
            for output, values in outputs.items():
                kept.setdefault(output, []).append(values)
    return [{output: np.concatenate(arrays) for output, arrays in kept.items()} for kept in parts]


def extract_statistics(
    images: Iterable[np.ndarray], extractor: Extractor, batch_size: int = BATCH_SIZE
) -> dict[str, FeatureStatistics]:
    """Statistics of all outputs; keeps no row, so that a set may be of any size."""
    found: dict[str, FeatureStatistics] = {}
    for [outputs] in look(images, [extractor], batch_size):
        for output, values in outputs.items():
            found.setdefault(output, FeatureStatistics(values.shape[1])).update(values)
    return found
