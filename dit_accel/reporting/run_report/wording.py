"""The sentences around tables and pictures."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version

from dit_accel.reporting.run_report.model import Report
from dit_accel.reporting.run_report.seed_grids import SeedGrid

THROUGHPUT = (
    "From the manifests: whole batches (denoising and decoding), on the machines and beside the "
    "neighbours that happened to be there. Latency on equal terms is in the table of runs."
)


def lead(report: Report) -> str:
    """Model, size, precision, machine and baseline, in one line or two."""
    sizes = sorted({run.num_images for run in report.runs})
    count = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    runs = "1 run" if len(report.runs) == 1 else f"{len(report.runs)} runs"
    parts = [
        f"{runs} of {_listed(run.model for run in report.runs)}",
        f"{count} images each",
        _listed(str(run.identity.get("dtype")) for run in report.runs),
        _machines(report),
    ]
    text = ", ".join(part for part in parts if part) + "."
    if report.baseline is not None:
        text += f" Baseline: {report.baseline.label}."
    return text


def _listed(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def _machines(report: Report) -> str:
    found = []
    for run in report.runs:
        hardware = report.provenance.get("hardware") or run.environment.get("hardware") or {}
        gpus = hardware.get("gpus") or []
        found.append(f"{len(gpus)} × {gpus[0]}" if gpus else str(hardware.get("cpu") or ""))
    return _listed(found)


def how_to_read(report: Report) -> str:
    """What marks, brackets and times in the table of runs mean."""
    scores = [score for run in report.runs for score in run.scores if score.interval]
    levels = {score.record.level for score in scores if score.record.level is not None}
    parts = ["The best of a column is bold; ≈ marks what its interval can't tell from the best."]
    if levels:
        shown = ", ".join(f"{100 * level:g} %" for level in sorted(levels))
        parts.append(f"Below a score: its {shown} interval; ± is 1.96 deviations over subsets.")
    timed = [run.latency for run in report.runs if run.latency is not None]
    if timed:
        parts.append(
            f"Time an image: median of the denoising loop over {timed[0].rounds} rounds, "
            f"all runs in turn, in batches of {timed[0].batch}; IQR: between the quartiles."
        )
    kinds = dict.fromkeys(run.memory.kind for run in report.runs if run.memory is not None)
    if kinds:
        parts.append(f"Peak memory: {', '.join(kinds)}.")
    if report.common_start is not None:
        parts.append(f"Speed-up, and ÷ below the MACs: against {report.common_start.label}.")
    return " ".join(parts)


def grid_note(grid: SeedGrid, *, exact: bool) -> str:
    """Which pictures these are, whose are left out, and whether every pixel is shown."""
    parts = ["Every column starts from the same noise in every run."]
    if grid.left_out:
        names = ", ".join(run.label for run in grid.left_out)
        parts.append(f"Left out, since they share no seeds and conditions with the first: {names}.")
    parts.append(
        "The pictures are as they were sampled, pixel by pixel."
        if exact
        else "The pictures here are smaller or compressed copies; judge details by the run folders."
    )
    return " ".join(parts)


def made() -> str:
    """What wrote the report; no date, so that the same runs give the same files."""
    return f"Written by dit-accel report, version {version('dit-accel')}."
