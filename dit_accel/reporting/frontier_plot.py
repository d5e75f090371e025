"""The picture of a frontier: PSNR over seconds, dense solvers as lines, everything else as points.

Two panels: to the converged run, where all rows belong; and to the dense reference, where its own
solver with fewer steps and the rows on it do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from dit_accel.measure.pareto import Point, pareto_front

WIDTH, HEIGHT, DPI = 15.0, 7.0, 100
_LINES = ("#1f77b4", "#2ca02c", "#d62728", "#9467bd", "#8c564b")
_STYLES = {
    "plan": ("o", "#ff7f0e", "plan"),
    "calibrated": ("*", "#e6007e", "calibrated plan"),
    "diffusers": ("^", "#7f7f7f", "diffusers' caches"),
    "cache-dit": ("v", "#17becf", "cache-dit"),
}


def save_frontier_plot(document: dict[str, Any], path: Path) -> None:
    """Draw what `frontier_document` returned as a PNG of 1500 x 700 pixels."""
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2)
    settings, rows = document["settings"], document["rows"]
    reference = str(settings["reference"])
    converged = f"PSNR to the converged run ({settings['converged']}), dB"
    _panel(left, rows, reference, "to_converged", converged)
    near = [row for row in rows if _belongs(row, reference)]
    _panel(right, near, reference, "to_reference", f"PSNR to dense {reference}, dB")
    left.legend(loc="lower right", fontsize=8)
    seeds = settings["seeds"]
    figure.suptitle(
        f"{document['title']}: exact rewrites on in all, seeds {seeds[0]} to {seeds[1]};"
        f" on {reference} where no solver is named"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})


def _belongs(row: dict[str, Any], reference: str) -> bool:
    if row["kind"] == "dense":
        return bool(row["solver"] == reference.split()[0])
    return _is_on(row, reference)


def _is_on(row: dict[str, Any], base: str) -> bool:
    return f"{row['solver']} {row['num_inference_steps']}" == base


def _short_name(row: dict[str, Any], reference: str) -> str:
    return str(row["label"] if _is_on(row, reference) else row["name"])


def _panel(
    axes: Axes, rows: Sequence[dict[str, Any]], reference: str, value: str, title: str
) -> None:
    drawn = [row for row in rows if row[value]["db"] is not None]
    _dense_lines(axes, [row for row in drawn if row["kind"] == "dense"], value)
    others = [row for row in drawn if row["kind"] != "dense"]
    for style, (marker, colour, label) in _STYLES.items():
        chosen = [row for row in others if _style(row) == style]
        if chosen:
            x, y = _places(chosen, value)
            axes.scatter(x, y, s=36, marker=marker, color=colour, label=label, zorder=3)
    _name_the_best(axes, others, reference, value)
    axes.set_xscale("log")
    axes.margins(x=0.2)  # for the labels
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="seconds of the denoising loop", ylabel=title)
    axes.grid(visible=True, which="both", alpha=0.25)


def _dense_lines(axes: Axes, rows: Sequence[dict[str, Any]], value: str) -> None:
    for colour, solver in zip(_LINES, dict.fromkeys(row["solver"] for row in rows), strict=False):
        line = sorted(
            (row for row in rows if row["solver"] == solver),
            key=lambda row: int(row["num_inference_steps"]),
        )
        x, y = _places(line, value)
        low = [row[value]["interval"][0] for row in line]
        high = [row[value]["interval"][1] for row in line]
        axes.plot(x, y, marker=".", color=colour, label=f"dense {solver}", zorder=2)
        axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
        for row, place in zip(line, zip(x, y, strict=True), strict=True):
            text = str(row["num_inference_steps"])
            axes.annotate(
                text, place, (0, -10), textcoords="offset points", fontsize=7, color=colour
            )


def _style(row: dict[str, Any]) -> str:
    if row["kind"] == "plan":
        return "calibrated" if row["calibrated"] else "plan"
    return str(row["label"]).split()[0]


def _places(rows: Sequence[dict[str, Any]], value: str) -> tuple[list[float], list[float]]:
    return [row["comparable_seconds"] for row in rows], [row[value]["db"] for row in rows]


def _name_the_best(axes: Axes, rows: Sequence[dict[str, Any]], reference: str, value: str) -> None:
    """Label the rows that no faster one of them equals; all of them would cover each other."""
    x, y = _places(rows, value)
    points = {Point(*place): row for place, row in zip(zip(x, y, strict=True), rows, strict=True)}
    for point in pareto_front(points):
        axes.annotate(
            _short_name(points[point], reference),
            (point.seconds, point.quality),
            (-4, 4),
            textcoords="offset points",
            horizontalalignment="right",  # nothing but dense lies above and left of the front
            fontsize=7,
            path_effects=[withStroke(linewidth=2, foreground="white")],
            zorder=4,
        )
