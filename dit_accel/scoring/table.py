"""Scores of several sets side by side, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dit_accel.scoring.records import ScoreRecord, Subject, newest
from dit_accel.scoring.ties import half_width, is_rival, is_tie

_ARROWS = {"lower": "↓", "higher": "↑"}
_NOTHING = 1e-7  # an interval so narrow is rounding
_LEGEND = (
    "± is half of the 95 % interval (KID and IS: 1.96 standard deviations over their subsets); "
    "bold is the best, and what is no worse within the intervals, of whole sets of equal N."
)


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
    found = [r for records in rows.values() for r in records if r.subject == column and is_rival(r)]
    if len(found) < 2 or len({record.n for record in found}) > 1:
        return None
    sign = 1 if found[0].better == "higher" else -1
    return max(found, key=lambda r: sign * (math.inf if r.value is None else r.value))


def _cell(record: ScoreRecord | None, best: ScoreRecord | None) -> str:
    if record is None:
        return "–"
    text = value_text(record) + (" forced" if record.forced else "")
    is_best = best is not None and is_rival(record) and is_tie(record, best)
    return f"**{text}**" if is_best else text


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
