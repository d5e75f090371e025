"""What a report lacks, and which command makes it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from dit_accel.reporting.run_report.model import Report, Run


@dataclass(frozen=True)
class Missing:
    """Something that is not there; ``command`` may be empty where none makes it."""

    what: str
    command: str


def missing(report: Report) -> tuple[Missing, ...]:
    """Everything that the reader would look for in vain, in the order of the work."""
    return tuple(_missing(report))


def _missing(report: Report) -> Iterator[Missing]:
    for run in report.runs:
        if not run.is_complete:
            what = f"{run.label}: {run.num_images} of {run.num_samples} images; scores are partial"
            yield Missing(what, report.remake or "dit-accel sample CONFIG")
    for run in report.runs:
        if not run.scores and run is not report.baseline and run.records:
            yield Missing(f"{run.label}: no scores", _score(report, run))
    if report.baseline is None:
        what = "no dense run, so nothing says what a plan costs in fidelity or saves in time"
        yield Missing(what, "dit-accel sample CONFIG --set plan={}")
    untimed = [run.label for run in report.runs if run.latency is None]
    if untimed:
        what = f"no latency measured on equal terms: {', '.join(untimed)}"
        yield Missing(what, report.remake or "dit-accel evaluate CONFIG")
    for run in report.plans:
        if run.explanation is None:
            yield Missing(f"{run.label}: no step × layer picture ({run.unexplained})", "")


def _score(report: Report, run: Run) -> str:
    command = ["dit-accel", "score", str(run.path), "--reference", "REFERENCE"]
    if report.baseline is not None:
        command += ["--baseline", str(report.baseline.path)]
    return shlex.join(command)
