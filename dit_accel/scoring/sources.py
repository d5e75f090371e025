"""Where features come from: pictures to look at, or a file that holds what is known of them.

A source can say what it will be able to supply before a single picture is read, so that a score
that cannot be made is refused at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Protocol

from dit_accel.errors import DitAccelError
from dit_accel.extractors.extractor import Extractor
from dit_accel.metrics.statistics_files import Moments
from dit_accel.scoring.feature_cache import rows_of_run
from dit_accel.scoring.features import Features, Rows, extract_rows
from dit_accel.scoring.image_sets import ImageSet, RunImages, hash_file


class Source(Protocol):
    """A set of pictures as far as metrics need to know it."""

    @property
    def name(self) -> str:
        """How people refer to it."""

    @property
    def expected(self) -> int | None:
        """How many pictures it holds once it is complete; None if its file does not say."""

    @property
    def count(self) -> int | None:
        """How many pictures it holds; None if its file does not say."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its pictures, or of the file that speaks for them."""

    @property
    def made_with(self) -> Mapping[str, str] | None:
        """The extractor behind what it holds, where that is fixed and known."""

    def supplies(self, output: str, *, rows: bool) -> bool:
        """Whether it can give an output of an extractor, as rows or as statistics."""

    def features(self, extractor: Extractor) -> Features:
        """What the extractor says about it."""


class PictureSource:
    """Pictures that are looked at when a metric asks, once by each extractor."""

    made_with = None

    def __init__(self, images: ImageSet) -> None:
        self.images = images
        self.name, self.expected, self.count = images.name, images.expected, len(images)
        self._seen: dict[str, Features] = {}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the pictures."""
        return self.images.fingerprint

    def supplies(self, output: str, *, rows: bool) -> bool:
        """Everything: the extractor is still to look."""
        return True

    def features(self, extractor: Extractor) -> Features:
        """Rows of all pictures, from the run folder where they are kept."""
        if extractor.name not in self._seen:
            self._seen[extractor.name] = Features(lambda: self.rows(extractor), name=self.name)
        return self._seen[extractor.name]

    def rows(self, extractor: Extractor) -> dict[str, Rows]:
        """Outputs ``[N, D]`` of an extractor, in the order of the pictures."""
        if isinstance(self.images, RunImages):
            return rows_of_run(self.images, extractor)
        [rows] = extract_rows(self.images.images(), [extractor])
        return rows


class KnownSource:
    """Rows or statistics that somebody computed before: a reference, or a file of statistics.

    Args:
        path: of the file.
        rows: outputs ``[N, D]`` that the file holds for single pictures.
        statistics: outputs that it holds statistics of.
        count: pictures behind it, where the file says so.
        made_with: record of the extractor, where the file names it.
        pictures: pictures in the same file, for what needs rows; ADM's references hold some.
        name: how it is called; the path by default.
    """

    def __init__(
        self,
        path: Path,
        *,
        rows: Mapping[str, Rows],
        statistics: Mapping[str, Moments],
        count: int | None,
        made_with: Mapping[str, str] | None,
        pictures: PictureSource | None = None,
        name: str | None = None,
    ) -> None:
        self.path, self.made_with = path, made_with
        self.name = name or str(path)
        self.count = self.expected = count
        self._rows, self._statistics, self._pictures = dict(rows), dict(statistics), pictures

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the file."""
        return hash_file(self.path)

    def supplies(self, output: str, *, rows: bool) -> bool:
        """What the file holds, and rows of any output if there are pictures in it."""
        if output in self._rows or (rows and self._pictures is not None):
            return True
        return not rows and output in self._statistics

    def features(self, extractor: Extractor) -> Features:
        """What the file holds; where it holds pictures besides statistics, rows of those.

        Raises:
            DitAccelError: the file's features are not as long as the extractor's.
        """
        known = self._statistics.get("features")
        if known is not None and len(known.mean) != extractor.dim:
            raise DitAccelError(
                f"{self.name}: holds {len(known.mean)} features, expected {extractor.dim} "
                f"of extractor '{extractor.name}'; give a reference that was made with it"
            )
        pictures = self._pictures
        look = (lambda: self._rows) if pictures is None else (lambda: pictures.rows(extractor))
        return Features(look, self._statistics, name=self.name)
