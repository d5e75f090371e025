"""What a report knows of each run: frozen records, read once and drawn many times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dit_accel.reporting.run_report.scores import Score

if TYPE_CHECKING:
    from dit_accel.measure.explain import Explanation
    from dit_accel.runs import ImageRecord
    from dit_accel.runs.throughput import Speed


@dataclass(frozen=True)
class Latency:
    """Seconds of the denoising loop, measured interleaved with the other runs.

    Attributes:
        seconds: median over the rounds, an image.
        spread: interquartile range over the rounds, an image.
        rounds: how often it was measured.
        batch: images in the measured batch.
    """

    seconds: float
    spread: float
    rounds: int
    batch: int


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates an image, guidance rows included; two bounds where data decide."""

    lower: float
    upper: float


@dataclass(frozen=True)
class Memory:
    """Peak bytes of a run of one batch, and what was counted as such."""

    bytes: float
    kind: str


@dataclass(frozen=True)
class Run:
    """One run: its settings, what was made of it, and what it cost.

    Attributes:
        name: unique in the report.
        label: as it is printed.
        is_dense: whether its plan changes nothing.
        method: the methods of its plan, in words.
        model: name or folder of the pipeline.
        scheduler: name of the solver.
        num_steps: denoising steps.
        identity: what decides the pictures (model, plan, solver, steps, seeds, data …).
        num_samples: images that were asked for.
        records: the images that are there, by index.
        latency: measured interleaved; ``None`` where nothing on equal terms is known.
        speed: throughput while sampling, from the manifest; ``None`` without images.
        explanation: the plan resolved for this model; ``None`` with the reason in ``unexplained``.
        memory: peak of the measured run.
    """

    name: str
    label: str
    is_dense: bool
    method: str
    model: str
    scheduler: str
    num_steps: int
    path: Path
    fingerprint: str
    identity: Mapping[str, Any]
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]
    num_samples: int
    records: Mapping[int, ImageRecord]
    scores: tuple[Score, ...]
    latency: Latency | None
    speed: Speed | None
    macs: Macs | None
    memory: Memory | None
    explanation: Explanation | None
    unexplained: str

    @property
    def solver(self) -> str:
        """Solver and steps, such as ``DDIM 50``."""
        return f"{self.scheduler} {self.num_steps}"

    @property
    def num_images(self) -> int:
        """Images that are there."""
        return len(self.records)

    @property
    def is_complete(self) -> bool:
        """Whether every image that was asked for is there."""
        return self.num_images >= self.num_samples

    def score(self, like: Score | None) -> Score | None:
        """This run's score in the same column as ``like``."""
        columns = {score.column: score for score in self.scores}
        return None if like is None else columns.get(like.column)


@dataclass(frozen=True)
class Report:
    """Runs beside each other.

    Attributes:
        baseline: the dense run that paired scores refer to; ``None`` without one.
        provenance: of the measurement that put the runs side by side; empty without one.
        remake: the command that makes or completes everything shown; empty if none is known.
    """

    title: str
    runs: tuple[Run, ...]
    baseline: Run | None
    provenance: Mapping[str, Any]
    remake: str

    @property
    def plans(self) -> tuple[Run, ...]:
        """The runs that a plan accelerates."""
        return tuple(run for run in self.runs if not run.is_dense)

    @property
    def dense(self) -> tuple[Run, ...]:
        """The runs without a plan."""
        return tuple(run for run in self.runs if run.is_dense)

    def start(self, plan: Run) -> Run | None:
        """The dense run that ``plan`` accelerates: of its solver and steps; else the baseline."""
        same = (run for run in self.dense if run.solver == plan.solver)
        return next(same, self.baseline)

    @property
    def common_start(self) -> Run | None:
        """What all speed-ups of the table refer to: the one start of all plans; else the baseline.

        A baseline of more steps than the plans start from would flatter every one of them.
        """
        starts = [self.start(plan) for plan in self.plans]
        return starts[0] if starts and all(run is starts[0] for run in starts) else self.baseline


def speed_up(base: Run | None, run: Run) -> float | None:
    """Seconds of ``base`` divided by those of ``run``, where both were measured."""
    if base is None or base.latency is None or run.latency is None:
        return None
    return base.latency.seconds / run.latency.seconds


def macs_ratio(base: Run | None, run: Run) -> float | None:
    """MACs of ``base`` divided by those of ``run`` (its upper bound), where both are known."""
    if base is None or base.macs is None or run.macs is None:
        return None
    return base.macs.upper / run.macs.upper
