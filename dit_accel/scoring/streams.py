"""Images that are scored while they are made, and not kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from dit_accel.errors import DitAccelError
from dit_accel.extractors.extractor import Extractor
from dit_accel.runs import pixel_sha256
from dit_accel.scoring.features import Features, extract_rows
from dit_accel.scoring.image_sets import digest_of

if TYPE_CHECKING:
    from dit_accel.sampling.generate import Sample


class SeenSamples:
    """Samples that were looked at by all extractors in one pass; a `Source`.

    Args:
        samples: read once, to their end.
        extractors: networks.

    Raises:
        DitAccelError: there was no sample.
    """

    name = "samples"
    made_with = None

    def __init__(self, samples: Iterable[Sample], extractors: Sequence[Extractor]) -> None:
        self._digests: list[str] = []
        found = extract_rows(self._images(samples), extractors)
        if not self._digests:
            raise DitAccelError("samples: got none, expected at least one image to score")
        self._rows = {
            extractor.name: rows for extractor, rows in zip(extractors, found, strict=True)
        }
        self.count = self.expected = len(self._digests)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the images; the same as of the run folder that holds them."""
        return digest_of(self._digests)

    def supplies(self, output: str, *, rows: bool) -> bool:
        """Everything that the extractors give."""
        return True

    def features(self, extractor: Extractor) -> Features:
        """What the extractor has said."""
        return Features(lambda: self._rows[extractor.name], name=self.name)

    def _images(self, samples: Iterable[Sample]) -> Iterator[np.ndarray]:
        for sample in samples:
            self._digests.append(f"{sample.spec.index} {pixel_sha256(sample.image)}")
            yield sample.image
