"""The costs of a cache's machinery as Markdown, each beside its target."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from dit_accel.reporting import units
from dit_accel.reporting.bench_markdown import markdown_table

FORECAST_TARGETS = {("model", 1): 0.12, ("model", 8): 0.05}
OVERHEAD_TARGET = 0.02
EFFICIENCY_TARGETS = {"static": 0.9, "data_dependent": 0.8}
_LEAST_BATCH = 8  # from which the efficiencies are asked for


def cache_costs_markdown(documents: Sequence[dict[str, Any]]) -> str:
    """The page from what `measure_cache_costs` returned for each model."""
    sections = ["# What a cache costs", _how(documents[0])]
    for document in documents:
        sections += [f"## {Path(document['model']).name}", *_tables(document["rows"])]
    text = json.dumps([document["provenance"] for document in documents], indent=2)
    sections.append(f"## Provenance\n\n```json\n{text}\n```")
    return "\n\n".join(sections) + "\n"


def _how(document: dict[str, Any]) -> str:
    return (
        f"{document['base']}, guidance {document['guidance_scale']}, fp32, exact rewrites on in "
        f"all, dense too; {document['rounds']} interleaved rounds, each case beside dense in the "
        "same round; median (middle half)."
    )


def _tables(rows: Sequence[dict[str, Any]]) -> list[str]:
    forecast = _chosen(rows, "forecast")
    overhead = _chosen(rows, "never_skips")
    efficiency = [
        row for row in _chosen(rows, "static", "data_dependent") if row["batch"] >= _LEAST_BATCH
    ]
    return [
        "### A forecast step, as a share of a full one\n\n"
        + _table("site", "r", forecast, _share, _forecast_verdict),
        "### Plans that never skip: time beyond dense\n\n"
        + _table("plan", "overhead", overhead, _percent, _overhead_verdict),
        "### Speed-up, measured ÷ MACs\n\n"
        + _table("plan", "efficiency", efficiency, _share, _efficiency_verdict),
    ]


def _chosen(rows: Sequence[dict[str, Any]], *sorts: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["sort"] in sorts]


def _table(
    first: str,
    figure: str,
    rows: Sequence[dict[str, Any]],
    write: Callable[[float], str],
    verdict: Callable[[dict[str, Any]], str],
) -> str:
    columns = (first, "batch", figure, "target", "speed-up", "MAC speed-up", "cache")
    cells = [
        [
            row["name"],
            str(row["batch"]),
            f"{write(row['figure'])} ({write(row['half'][0])} to {write(row['half'][1])})",
            verdict(row),
            f"{1 / median(row['ratios']):.2f}×",
            f"{1 / row['mac_ratio']:.2f}×",
            units.memory(row["nbytes"]),
        ]
        for row in rows
    ]
    return markdown_table(columns, cells)


def _share(value: float) -> str:
    return f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{100 * value:+.1f} %"


def _forecast_verdict(row: dict[str, Any]) -> str:
    target = FORECAST_TARGETS.get((row["name"], row["batch"]))
    return "" if target is None else _met(f"≤ {target:g}", row["figure"] <= target)


def _overhead_verdict(row: dict[str, Any]) -> str:
    return _met(f"≤ {100 * OVERHEAD_TARGET:g} %", row["figure"] <= OVERHEAD_TARGET)


def _efficiency_verdict(row: dict[str, Any]) -> str:
    target = EFFICIENCY_TARGETS[row["sort"]]
    return _met(f"≥ {target:g}", row["figure"] >= target)


def _met(target: str, met: bool) -> str:
    return f"{target}: {'met' if met else '**missed**'}"
