"""The same report as Markdown, for a README or a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from dit_accel.reporting.bench_markdown import markdown_table
from dit_accel.reporting.run_report import wording
from dit_accel.reporting.run_report.content import Content
from dit_accel.reporting.run_report.headlines import RULE
from dit_accel.reporting.run_report.results_table import SET, Cell
from dit_accel.reporting.run_report.throughput_table import THROUGHPUT_COLUMNS

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~&])")


def markdown_report(content: Content, pictures: Mapping[str, str]) -> str:
    """The whole document.

    Args:
        content: what to show.
        pictures: alternative text by file name, of the pictures that lie beside it.
    """
    sections = [
        f"# {escaped(content.report.title)}",
        escaped(wording.lead(content.report)),
        _worth(content),
        _missing(content),
        "## Runs",
        *_runs(content),
        escaped(wording.how_to_read(content.report)),
        *(f"![{escaped(text)}]({name})" for name, text in pictures.items()),
        _plans(content),
        _throughput(content),
        _origins(content),
        escaped(wording.made()),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def escaped(text: str) -> str:
    """``text`` on one line, with nothing in it that Markdown or HTML would act on."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    """A code span, fenced by more backticks than the text holds in a row."""
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    return f"{fence} {text} {fence}" if len(fence) > 1 else f"`{text}`"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return markdown_table(
        [escaped(column) for column in columns], [[*map(escaped, row)] for row in rows]
    )


def _worth(content: Content) -> str:
    if not content.headlines:
        return ""
    lines = [
        f"- **{escaped(headline.run.label)}** {escaped(headline.sentence)}"
        for headline in content.headlines
    ]
    return "\n\n".join(["## What each plan is worth", "\n".join(lines), escaped(RULE)])


def _missing(content: Content) -> str:
    if not content.missing:
        return ""
    lines = [
        f"- {escaped(item.what)}" + (f": {_code(item.command)}" if item.command else "")
        for item in content.missing
    ]
    return "\n\n".join(["## What is missing", "\n".join(lines)])


def _runs(content: Content) -> list[str]:
    """One table a group of columns: a single one would be too wide to read."""
    parts = []
    for group, columns in content.table.groups:
        head = ["run", *(" ".join(filter(None, (c.title, c.better))) for c in columns)]
        rows = [
            [escaped(run.label), *(_cell(column.cells[row]) for column in columns)]
            for row, run in enumerate(content.table.runs)
        ]
        table = markdown_table([escaped(title) for title in head], rows)
        parts.append(table if group == SET else f"### {escaped(group)}\n\n{table}")
    return parts


def _cell(cell: Cell) -> str:
    text = escaped(cell.text)
    text = f"**{text}**" if cell.mark == "best" else f"{text} ≈" if cell.mark == "tie" else text
    detail = f" {escaped(cell.detail)}" if cell.detail else ""
    return text + detail + (f" ({escaped(cell.note)})" if cell.note else "")


def _plans(content: Content) -> str:
    if not content.plans:
        return ""
    lines = [
        f"- **{escaped(plan.run.label)}**: {escaped(plan.summary)} {escaped(plan.macs)}."
        for plan in content.plans
    ]
    return "\n\n".join(["## What each plan computes", "\n".join(lines)])


def _throughput(content: Content) -> str:
    if not content.throughput:
        return ""
    table = _table(THROUGHPUT_COLUMNS, content.throughput)
    return "\n\n".join(["## Throughput while sampling", escaped(wording.THROUGHPUT), table])


def _origins(content: Content) -> str:
    facts = content.facts
    parts = ["## Where the numbers come from"]
    if content.tools:
        rows = [[tool.name, tool.role, tool.detail, tool.sha256] for tool in content.tools]
        parts.append(_table(("name", "role", "detail", "SHA-256"), rows))
    if facts.varying:
        differing = [[run.label, *values] for run, values in facts.rows]
        parts.append(_table(("run", *facts.varying), differing))
    parts.append(_table(("setting", "all runs"), facts.shared))
    return "\n\n".join(parts)
