"""A frontier as Markdown: the targets, which rows lose to dense with fewer steps, and every row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dit_accel.evaluation.frontier.verdicts import (
    MARGIN_DB,
    TIME_FACTOR,
    TIME_FACTOR_UNCALIBRATED,
)
from dit_accel.reporting import units
from dit_accel.reporting.bench_markdown import markdown_table

_COLUMNS = (
    "row",
    "s",
    "speed-up (middle half)",
    "forwards",
    "dB to converged",
    "dB to own dense",
    "cache",
)
_BEST = 5
_RIVAL_COLUMNS = ("fastest dense as good", "its time ÷ ours", "interpolated")


def frontier_markdown(document: dict[str, Any]) -> str:
    """The whole page from what `frontier_document` returned."""
    rows = document["rows"]
    dense = [row for row in rows if row["kind"] == "dense"]
    plans = [row for row in rows if row["kind"] == "plan"]
    peers = [row for row in rows if row["kind"] == "peer"]
    sections = [
        f"# {document['title']}",
        _how(document),
        "![PSNR over seconds](frontier.png)",
        "## To reach the error of a dense run\n\n" + _time_targets(document),
        "## At the same speed-up\n\n" + _fidelity_targets(document),
        "## Which rows beat dense with fewer steps, and which lose?\n\n" + _verdicts(plans, peers),
        "## Dense\n\n" + markdown_table(_COLUMNS, map(_cells, dense)),
        _rivals_table("Plans", plans),
        _rivals_table("Peers", peers),
        _provenance(document),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _how(document: dict[str, Any]) -> str:
    settings = document["settings"]
    first, last = settings["seeds"]
    chosen = settings["selection_seeds"]
    purpose = (
        "**These are the seeds that plans are chosen on: a report needs others.** "
        if settings["selecting"]
        else f"Plans were chosen on seeds {chosen[0]} to {chosen[1]}. "
    )
    return (
        f"`{Path(settings['model']).name}`, {settings['dtype']}, guidance "
        f"{settings['guidance_scale']}, exact rewrites on in every row, dense too; one noise "
        "schedule, one timestep spacing, no clipping. "
        f"Fidelity: PSNR, mean over seeds {first} to {last} (95 % interval of the mean, Student's "
        f"t), to the converged run (dense {settings['converged']}) and to dense of the same solver "
        f"and steps. {purpose}"
        f"Seconds: median of {settings['rounds']} interleaved rounds, denoising loop of "
        f"{settings['timed_images']} pictures. Speed-up: over dense {settings['reference']} in the "
        "same round. Forwards: MACs as dispatched, in forwards of the row's own dense run. Rows "
        "with * decide once for a whole batch: their pictures were made one at a time, their "
        "seconds and MACs are of the timed batch."
    )


def _time_targets(document: dict[str, Any]) -> str:
    columns = (
        "goal",
        "dB",
        "fastest dense",
        f"fastest of ours (target {TIME_FACTOR:g}×)",
        f"uncalibrated (target {TIME_FACTOR_UNCALIBRATED:g}×)",
    )
    rows = [
        [
            f"dense {target['goal']}",
            units.decibels(target["db"]),
            target["dense"],
            _reached(target["best"], target["gain"], target["met"]),
            _reached(
                target["best_uncalibrated"], target["gain_uncalibrated"], target["met_uncalibrated"]
            ),
        ]
        for target in document["time_targets"]
    ]
    return markdown_table(columns, rows)


def _reached(name: str | None, gain: float | None, met: bool) -> str:
    if name is None or gain is None:
        return "none reaches it: **missed**"
    return f"{name}: {gain:.2f}×, {'met' if met else '**missed**'}"


def _fidelity_targets(document: dict[str, Any]) -> str:
    reference = document["settings"]["reference"]
    families = list(dict.fromkeys(n for t in document["fidelity_targets"] for n in t["rivals_db"]))
    columns = ("speed-up", f"best plan on {reference}", "dB to it", *families, "margin")
    rows = [
        [
            f"{target['speed_up']:g}×",
            _named_speed(target),
            units.decibels(target["db"]) if target["best"] else "–",
            *(units.decibels(target["rivals_db"].get(name)) for name in families),
            _margin(target),
        ]
        for target in document["fidelity_targets"]
    ]
    note = (
        f"PSNR to dense {reference}. Rivals are interpolated at the speed-up, in the logarithm of "
        f"time, or are their fastest row where none is as fast. Target: {MARGIN_DB:g} dB above all."
    )
    return f"{markdown_table(columns, rows)}\n\n{note}"


def _named_speed(target: dict[str, Any]) -> str:
    return f"{target['best']}, {target['best_speed_up']:.2f}×" if target["best"] else "none as fast"


def _margin(target: dict[str, Any]) -> str:
    if target["margin_db"] is None:
        return "met" if target["met"] else "**missed**"
    return f"{target['margin_db']:+.2f}, {'met' if target['met'] else '**missed**'}"


def _verdicts(plans: Sequence[dict[str, Any]], peers: Sequence[dict[str, Any]]) -> str:
    lines = []
    for title, rows in (("plans", plans), ("peers", peers)):
        if not rows:
            continue
        losing = [row for row in rows if row["loses"]]
        lines += [_largest_gains(title, rows), ""]
        lines.append(f"Of {len(rows)} {title}, {len(losing)} lose" + (":" if losing else "."))
        lines += [""] + [_loss(row) for row in losing] if losing else []
        lines.append("")
    return "\n".join(lines).strip() or "There is nothing but dense."


def _largest_gains(title: str, rows: Sequence[dict[str, Any]]) -> str:
    """The rows that save most beside dense of just their fidelity."""
    winning = [row for row in rows if (row["gain_interpolated"] or 0) > 1]
    winning.sort(key=lambda row: float(row["gain_interpolated"]), reverse=True)
    if not winning:
        return f"None of the {title} beats dense, interpolated between its numbers of steps."
    best = "; ".join(f"{_name(row)}, {row['gain_interpolated']:.2f}×" for row in winning[:_BEST])
    return (
        f"Of {len(rows)} {title}, {len(winning)} beat dense, interpolated between its numbers of"
        f" steps. Largest gains, its time ÷ theirs: {best}."
    )


def _loss(row: dict[str, Any]) -> str:
    share = f"{row['gain']:.2f}× its time"
    return f"- {_name(row)} loses to {row['dense_rival']}, which is as good in {share}."


def _rivals_table(title: str, rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return ""
    cells = [[*_cells(row), *_rival_cells(row)] for row in rows]
    return f"## {title}\n\n" + markdown_table((*_COLUMNS, *_RIVAL_COLUMNS), cells)


def _name(row: dict[str, Any]) -> str:
    mark = r"\*" if row["decides_by_batch"] else ""
    return f"{row['name']}{mark}"


def _cells(row: dict[str, Any]) -> list[str]:
    low, high = row["ratio_quartiles"]
    return [
        _name(row),
        f"{row['seconds']:.3f}",
        f"{1 / row['ratio']:.2f}× ({1 / high:.2f}–{1 / low:.2f})",
        f"{row['forwards']:.1f}",
        _fidelity(row["to_converged"]),
        "–" if row["to_own_dense"] is None else _fidelity(row["to_own_dense"]),
        units.memory(row["cache_bytes"] or None),
    ]


def _fidelity(value: dict[str, Any]) -> str:
    if value["db"] is None:
        return "exact"
    low, high = value["interval"]
    return f"{value['db']:.2f} ({low:.2f}–{high:.2f})"


def _rival_cells(row: dict[str, Any]) -> list[str]:
    if row["dense_rival"] is None:
        return ["none", "–", "–"]
    interpolated = row["gain_interpolated"]
    return [
        row["dense_rival"],
        f"{row['gain']:.2f}×" + (" (loses)" if row["loses"] else ""),
        "–" if interpolated is None else f"{interpolated:.2f}×",
    ]


def _provenance(document: dict[str, Any]) -> str:
    text = json.dumps(document["provenance"], indent=2)
    command = f"Made by `{document['command']}`." if document["command"] else ""
    return f"## Provenance\n\n{command}\n\n```json\n{text}\n```"
