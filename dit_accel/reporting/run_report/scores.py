"""Scores of a run, as ``scores.jsonl`` holds them, and which of them may be compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from dit_accel.scoring import ties
from dit_accel.scoring.records import ScoreRecord, newest, read_records

# Which metric speaks for a run, first choice first: against real pictures, and against dense.
DISTRIBUTION = ("fid", "fid_clean", "fd_dinov2", "fd_ref", "cmmd", "kid", "kid_ref")
DIFFERENCE = "fd_ref_delta"
PAIRED = ("psnr", "lpips", "ssim", "feature_cosine")


@dataclass(frozen=True)
class Column:
    """What scores must share to stand in one column of a table.

    Attributes:
        metric: its key, such as ``fd_ref``.
        reference: name of the real pictures, where it compares with some.
        identity: hashes of extractor, reference and baseline: numbers of others are no rivals.
    """

    metric: str
    reference: str | None
    identity: tuple[str | None, ...]


@dataclass(frozen=True)
class Score:
    """One record of ``scores.jsonl``, in the form that a report compares and prints."""

    column: Column
    record: ScoreRecord

    @property
    def value(self) -> float:
        """The number; ``inf`` where pictures are identical."""
        return math.inf if self.record.value is None else self.record.value

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its lower and upper end, if it was measured."""
        return self.record.interval

    @property
    def n(self) -> int:
        """Pictures behind it."""
        return self.record.n

    @property
    def prompts(self) -> int | None:
        """Pictures whose prompts say something of it; ``None`` for metrics without prompts."""
        asked: int | None = self.record.settings.get("prompts")
        return asked

    @property
    def title(self) -> str:
        """The label without N, which has a place of its own: ``PSNR, dB``."""
        return self.record.label.rpartition(" (N=")[0] or self.record.label

    @property
    def name(self) -> str:
        """The title without its unit: ``PSNR``."""
        return self.title.partition(", ")[0]

    @property
    def unit(self) -> str:
        """The unit, if there is one: ``dB``."""
        return self.title.partition(", ")[2]

    @property
    def higher_is_better(self) -> bool:
        """Direction of the metric."""
        return self.record.better == "higher"

    @property
    def is_paired(self) -> bool:
        """Whether it compares with another run's pictures of the same seeds."""
        return self.record.baseline is not None

    @property
    def half_width(self) -> float | None:
        """Half the interval; where only a spread was measured, what an interval of it would be."""
        return ties.half_width(self.record)

    @property
    def is_rival(self) -> bool:
        """Whether it may be better or worse than others: see ``scoring.ties.is_rival``."""
        return ties.is_rival(self.record)

    @property
    def quality(self) -> float:
        """The value, turned so that more is better."""
        return self.value if self.higher_is_better else -self.value


def read_scores(path: Path) -> tuple[Score, ...]:
    """Newest scores of one run; where a column has several N, the one of most pictures.

    A missing file is a run without scores.
    """
    largest: dict[Column, Score] = {}
    for record in newest(read_records(path)):
        score = Score(_column(record), record)
        known = largest.get(score.column)
        if known is None or score.n > known.n:
            largest[score.column] = score
    return tuple(largest.values())


def _column(record: ScoreRecord) -> Column:
    extractor, reference, baseline = (
        part or {} for part in (record.extractor, record.reference, record.baseline)
    )
    hashes = (extractor.get("sha256"), reference.get("sha256"), baseline.get("fingerprint"))
    return Column(record.metric, reference.get("name"), hashes)


def resolution(a: Score, b: Score) -> float | None:
    """Differences up to this are ties; ``None`` if neither has an interval."""
    return ties.resolution(a.record, b.record)


def comparable(a: Score, b: Score) -> bool:
    """Whether both are of one column, of as many pictures, of whole sets, and not forced."""
    return a.column == b.column and a.n == b.n and a.is_rival and b.is_rival


def tied(a: Score, b: Score) -> bool:
    """Whether the two differ by no more than their intervals can tell apart."""
    return ties.is_tie(a.record, b.record)
