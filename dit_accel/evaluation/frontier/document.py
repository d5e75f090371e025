"""A measured frontier as one JSON document: all that its tables and its picture show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dit_accel.evaluation.frontier.entries import dense_entry
from dit_accel.evaluation.frontier.measure import FrontierRun
from dit_accel.evaluation.frontier.points import FrontierPoint, points_of
from dit_accel.evaluation.frontier.prepare import PreparedFrontier
from dit_accel.evaluation.frontier.verdicts import (
    FidelityTarget,
    Rival,
    TimeTarget,
    fidelity_targets,
    rival_of,
    time_targets,
)


@dataclass(frozen=True)
class Frontier:
    """All points of a finished run, and what follows from them.

    Attributes:
        prepared: what was asked for.
        points: one a row, in its order.
        provenance: what measured them, one record a process.
    """

    prepared: PreparedFrontier
    points: list[FrontierPoint]
    provenance: list[Mapping[str, Any]]

    @property
    def reference_seconds(self) -> float:
        """Seconds of the dense reference, median over the rounds."""
        return next(
            point.seconds
            for point in self.points
            if point.entry == dense_entry(self.prepared.config.reference)
        )

    def comparable_seconds(self, point: FrontierPoint) -> float:
        """Its ratio in seconds of the reference: rounds on a slower day count alike."""
        return point.ratio * self.reference_seconds

    @property
    def time_targets(self) -> list[TimeTarget]:
        """To reach the error of the goals."""
        return time_targets(self.points, self.prepared.config.goals)

    @property
    def fidelity_targets(self) -> list[FidelityTarget]:
        """At the same speed-up."""
        config = self.prepared.config
        return fidelity_targets(self.points, config.reference, config.speed_ups)


def finished_frontier(run: FrontierRun) -> Frontier:
    """What the journal of a finished run says."""
    quality = run.journal.quality(run.quality_keys)
    rounds = run.journal.rounds(run.timing_keys)
    reference = dense_entry(run.prepared.config.reference).name
    points = points_of(run.prepared.entries, quality, rounds, reference)
    records = [*(line.provenance for line in quality.values()), *(r.provenance for r in rounds)]
    return Frontier(run.prepared, points, _distinct(records))


def frontier_document(frontier: Frontier) -> dict[str, Any]:
    """JSON-serialisable form; `rows` in the order of the config."""
    prepared = frontier.prepared
    config = prepared.config
    return {
        "title": config.title,
        "settings": {
            **{name: getattr(config, name) for name in _PLAIN},
            "seeds": [prepared.seeds.seeds[0], prepared.seeds.seeds[-1]],
            "selection_seeds": [
                config.selection_seeds.seeds[0],
                config.selection_seeds.seeds[-1],
            ],
            "selecting": prepared.selecting,
            "reference": str(config.reference),
            "converged": str(config.converged),
            "plans": {
                entry.label: entry.plan.to_dict()
                for entry in prepared.entries
                if entry.kind == "plan"
            },
        },
        "rows": [_row(frontier, point) for point in frontier.points],
        "time_targets": [_time_target(target) for target in frontier.time_targets],
        "fidelity_targets": [_fidelity_target(target) for target in frontier.fidelity_targets],
        "command": prepared.command,
        "provenance": frontier.provenance,
    }


_PLAIN = ("model", "dtype", "guidance_scale", "batch_size", "timed_images", "rounds")


def _row(frontier: Frontier, point: FrontierPoint) -> dict[str, Any]:
    entry = point.entry
    rival = Rival(None, None, None) if entry.kind == "dense" else rival_of(point, frontier.points)
    return {
        "name": entry.name,
        "kind": entry.kind,
        "label": entry.label,
        "solver": entry.base.solver,
        "num_inference_steps": entry.base.num_inference_steps,
        "calibrated": entry.calibrated,
        "decides_by_batch": entry.decides_by_batch,
        "seconds": point.seconds,
        "ratio": point.ratio,
        "ratio_quartiles": list(point.ratio_spread),
        "comparable_seconds": frontier.comparable_seconds(point),
        "forwards": point.forwards,
        "macs": point.macs,
        "cache_bytes": point.nbytes,
        "to_converged": point.converged.to_dict(),
        "to_reference": point.reference.to_dict(),
        "to_own_dense": None if point.own is None else point.own.to_dict(),
        "dense_rival": None if rival.dense is None else rival.dense.entry.name,
        "gain": rival.gain,
        "gain_interpolated": rival.interpolated,
        "loses": rival.loses,
    }


def _time_target(target: TimeTarget) -> dict[str, Any]:
    return {
        "goal": str(target.goal),
        "db": _finite(target.level),
        "dense": target.dense.entry.name,
        "best": _name(target.best),
        "gain": target.gain(target.best),
        "met": target.met,
        "best_uncalibrated": _name(target.uncalibrated),
        "gain_uncalibrated": target.gain(target.uncalibrated),
        "met_uncalibrated": target.met_uncalibrated,
    }


def _fidelity_target(target: FidelityTarget) -> dict[str, Any]:
    best = target.best
    return {
        "speed_up": target.speed_up,
        "best": _name(best),
        "best_speed_up": None if best is None else best.speed_up,
        "db": None if best is None else _finite(best.reference.mean),
        "rivals_db": target.rivals,
        "margin_db": None if target.margin is None else _finite(target.margin),
        "met": target.met,
    }


def _name(point: FrontierPoint | None) -> str | None:
    return None if point is None else point.entry.name


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _distinct(records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One of each, oldest first."""
    found: list[Mapping[str, Any]] = []
    for record in records:
        if record not in found:
            found.append(record)
    return sorted(found, key=lambda record: str(record["date"]))
