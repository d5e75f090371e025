"""One score, one JSON line, with everything that is needed to get the same number again."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from dit_accel.errors import DitAccelError

Direction = Literal["lower", "higher"]
Subject: TypeAlias = tuple[str, str | None, str | None, str | None]


@dataclass(frozen=True)
class ScoreRecord:
    """One value of one metric on one set of images; the fields of a line of ``scores.jsonl``.

    ``value`` is ``None`` only for the PSNR of identical pictures, which is infinite and has no
    form in JSON. ``interval`` is ``(low, high)`` at ``level``; where an estimator only gives a
    spread, ``std`` holds it and ``interval`` is ``None``.
    """

    metric: str
    label: str
    value: float | None
    std: float | None
    interval: tuple[float, float] | None
    level: float | None
    n: int
    complete: bool
    better: Direction
    extractor: dict[str, Any] | None
    reference: dict[str, Any] | None
    baseline: dict[str, Any] | None
    settings: dict[str, Any]
    images: dict[str, Any]
    provenance: dict[str, Any] = field(repr=False)
    time: float
    forced: bool = False

    @property
    def subject(self) -> Subject:
        """Metric, and hashes of extractor, reference and baseline: what the number is about."""
        return (
            self.metric,
            None if self.extractor is None else self.extractor["sha256"],
            None if self.reference is None else self.reference["sha256"],
            None if self.baseline is None else self.baseline["fingerprint"],
        )

    @property
    def is_exact(self) -> bool:
        """Whether these are the baseline's own pictures, beside which paired scores are trivial."""
        theirs = None if self.baseline is None else self.baseline.get("images")
        return theirs is not None and theirs == self.images["fingerprint"]

    def to_json(self) -> str:
        """One line of strict JSON, without its line break."""
        fields = {key: _finite(value) for key, value in asdict(self).items()}
        return json.dumps(fields, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> ScoreRecord:
        """Read what `to_json` wrote.

        Raises:
            DitAccelError: the line is no score of this package.
        """
        try:
            fields = json.loads(line)
            interval = fields.pop("interval")
            return cls(**fields, interval=None if interval is None else tuple(interval))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DitAccelError(f"not a score record: {line[:80]!r} ({error})") from None


def scores_path(target: Path, output: Path | None = None) -> Path:
    """Where the scores of a target belong: in its folder, or beside a file that was scored."""
    if output is not None:
        return output
    return target / "scores.jsonl" if target.is_dir() else target.with_suffix(".scores.jsonl")


def append_records(path: Path, records: Iterable[ScoreRecord]) -> None:
    """Add lines to a ``scores.jsonl``, on disk when this returns.

    A last line that a killed process left half-written is ended first, so that it spoils no other.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(record.to_json() + "\n" for record in records)
    with path.open("a+b") as stream:
        if stream.tell() > 0:
            stream.seek(-1, os.SEEK_END)
            lines = ("" if stream.read(1) == b"\n" else "\n") + lines
        stream.write(lines.encode())
        stream.flush()
        os.fsync(stream.fileno())


def read_records(path: Path) -> list[ScoreRecord]:
    """Every whole line of a ``scores.jsonl``, oldest first; none where there is no such file."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(ScoreRecord.from_json(line))
        except DitAccelError:
            continue  # half-written by a process that was killed: its score was never reported
    return records


def newest(records: Sequence[ScoreRecord]) -> list[ScoreRecord]:
    """The newest record of each subject and N, in the order of first appearance."""
    latest: dict[tuple[Subject, int], ScoreRecord] = {}
    for record in records:
        latest[record.subject, record.n] = record
    return list(latest.values())


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
