"""Scores of several sets side by side, as Markdown; and when two of them are a tie."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dit_accel.scoring.records import ScoreRecord, Subject, newest

_ARROWS = {"lower": "↓", "higher": "↑"}
_DEVIATIONS = 1.96
_NOTHING = 1e-7  # an interval so narrow is rounding
_LEGEND = (
    "± is half of the 95 % interval (KID and IS: 1.96 standard deviations over their subsets); "
    "bold is the best, and what is no worse within the intervals."
)


def is_tie(a: ScoreRecord, b: ScoreRecord) -> bool:
    """Whether two scores of one metric differ by no more than their intervals can tell apart.

    Half widths add as independent errors do. Runs of the same seeds share most of their noise, so
    this errs on the side of calling a tie; `metrics.uncertainty.frechet_difference_interval` is
    the sharper test of two such runs.
    """
    if a.value is None or b.value is None:
        return a.value == b.value
    width = math.hypot(half_width(a) or 0.0, half_width(b) or 0.0)
    return abs(a.value - b.value) <= width


def half_width(record: ScoreRecord) -> float | None:
    """Half the interval of a score; from its spread (of KID's subsets, say) where it has none."""
    if record.interval is not None:
        return (record.interval[1] - record.interval[0]) / 2
    return None if record.std is None else _DEVIATIONS * record.std


def score_table(scores: Mapping[str, Sequence[ScoreRecord]]) -> str:
    """Markdown table of the newest scores: a row a set, a column a metric, best ones bold.

    Args:
        scores: records of every set, oldest first, by the name of the set.
    """
    rows = {name: newest(records) for name, records in scores.items()}
    columns = {record.subject: record for records in rows.values() for record in records}
    best = {column: _best(column, rows) for column in columns}
    titles = _titles(list(columns.values()))
    heads = [
        f"{title} {_ARROWS[record.better]}"
        for title, record in zip(titles, columns.values(), strict=True)
    ]
    lines = [_line(["set", "N", *heads]), _line(["---", *["---:"] * (len(heads) + 1)])]
    for name, records in rows.items():
        found = {record.subject: record for record in records}
        cells = [_cell(found.get(column), best[column]) for column in columns]
        lines.append(_line([name, _numbers(records), *cells]))
    return "\n".join([*lines, "", _LEGEND]) + "\n"


def _titles(records: Sequence[ScoreRecord]) -> list[str]:
    """Labels without N; with hashes where one metric comes from several weights or references."""
    plain = [record.label.rpartition(" (N=")[0] for record in records]
    return [
        title
        if plain.count(title) == 1
        else f"{title} [{'/'.join(part[:6] for part in record.subject[1:] if part)}]"
        for title, record in zip(plain, records, strict=True)
    ]


def _best(column: Subject, rows: Mapping[str, Sequence[ScoreRecord]]) -> ScoreRecord | None:
    """The best of a column, if at least two sets can be compared in it."""
    found = [r for records in rows.values() for r in records if r.subject == column]
    if len(found) < 2 or len({record.n for record in found}) > 1:
        return None
    sign = 1 if found[0].better == "higher" else -1
    return max(found, key=lambda r: sign * (math.inf if r.value is None else r.value))


def _cell(record: ScoreRecord | None, best: ScoreRecord | None) -> str:
    if record is None:
        return "–"
    text = value_text(record) + (" forced" if record.forced else "")
    return f"**{text}**" if best is not None and is_tie(record, best) else text


def value_text(record: ScoreRecord) -> str:
    """``12.3 ± 0.4``, with as many digits as the interval leaves meaning to."""
    if record.value is None:
        return "∞"
    width = half_width(record)
    if not width or width < _NOTHING:
        return f"{record.value:.4g}"
    # Two digits of the uncertainty decide how many of the value mean anything.
    digits = max(0, 1 - int(f"{width:.1e}".partition("e")[2]))
    return f"{record.value:.{digits}f} ± {width:.{digits}f}"


def _numbers(records: Sequence[ScoreRecord]) -> str:
    partial = {record.n: record.label for record in records if not record.complete}
    counts = dict.fromkeys(record.n for record in records)
    return ", ".join(f"{n:,}{' (partial)' if n in partial else ''}" for n in counts)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
