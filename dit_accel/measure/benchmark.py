"""Latency, memory, MACs and fidelity of every candidate, measured in one process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from dit_accel.measure.bench_settings import BenchSettings, PreparedBench, bench_batch
from dit_accel.measure.candidates import (
    CONVERGED_SOLVER,
    CONVERGED_STEPS,
    Base,
    Candidate,
)
from dit_accel.measure.fidelity import Fidelity, fidelity
from dit_accel.measure.macs import count_macs
from dit_accel.measure.memory import PeakMemory, peak_memory
from dit_accel.measure.provenance import provenance
from dit_accel.measure.ranks import gather, rank_device
from dit_accel.measure.subjects import PipelineSubject, RandomWeightsSubject, Runner, Subject
from dit_accel.measure.timing import Timing, interleaved, timed
from dit_accel.plan import Plan
from dit_accel.sampling.loading import load_pipeline
from dit_accel.sampling.solvers import shared_settings


@dataclass(frozen=True)
class Measurement:
    """One row of the report; fidelity is ``None`` where no pictures are made."""

    candidate: Candidate
    timing: Timing
    macs: int
    memory: PeakMemory
    decode_seconds: float | None
    to_dense: Fidelity | None
    to_converged: Fidelity | None


@dataclass(frozen=True)
class Benchmark:
    """All rows of rank 0, and every rank's median seconds for each.

    ``conditions`` are rank 0's classes or prompts; empty with random weights.
    """

    settings: BenchSettings
    conditions: dict[str, list[int] | list[str]]
    rows: list[Measurement]
    rank_seconds: dict[str, list[float]]
    text_encoder_seconds: float | None
    solver_settings: dict[str, Any]
    provenance: dict[str, Any]

    def row(self, run: Base) -> Measurement:
        """The dense row of a base."""
        dense = (row for row in self.rows if row.candidate.kind != "plan")
        return next(row for row in dense if row.candidate.run == run)


def run_benchmark(
    prepared: PreparedBench, advance: Callable[[str], None] = lambda name: None
) -> Benchmark:
    """Load, warm up, and measure all candidates interleaved; every rank does the same.

    Args:
        prepared: what ``prepare_benchmark`` returned.
        advance: told the name of each finished run.
    """
    settings = prepared.settings
    device = rank_device(settings.device)
    subject = _subject(prepared, device)
    warm = _WarmUp(subject, prepared, device)
    runs = {row.name: warm.run(row, advance) for row in prepared.candidates}
    converged = _converged(subject, settings, advance)
    timings = interleaved(
        {name: run.call for name, run in runs.items()}, settings.rounds, device, advance
    )
    everyone = gather({name: timing.median for name, timing in timings.items()})
    return Benchmark(
        settings=settings,
        conditions=subject.conditions,
        rows=_rows(prepared, runs, timings, converged),
        rank_seconds={name: [seconds[name] for seconds in everyone] for name in timings},
        text_encoder_seconds=subject.text_encoder_seconds,
        solver_settings=shared_settings(subject.scheduler_config),
        provenance=provenance(device=str(device), world_size=len(everyone)),
    )


def _subject(prepared: PreparedBench, device: torch.device) -> Subject:
    settings, architecture = prepared.settings, prepared.architecture
    if settings.random_weights:
        return RandomWeightsSubject(
            architecture,
            settings.num_images,
            settings.guidance_scale,
            settings.dtype,
            device,
            settings.seed,
        )
    pipe = load_pipeline(settings.model, settings.dtype, device)
    return PipelineSubject(pipe, bench_batch(settings, architecture), device)


@dataclass(frozen=True)
class _Run:
    """A warm candidate: how to run it again, and what its first run showed."""

    call: Callable[[], torch.Tensor]
    macs: int
    memory: PeakMemory
    images: torch.Tensor | None
    decode_seconds: float | None


class _WarmUp:
    """Runs every candidate once: compiles, allocates, and keeps its pictures."""

    def __init__(self, subject: Subject, prepared: PreparedBench, device: torch.device) -> None:
        self._subject, self._prepared, self._device = subject, prepared, device
        self._runners: dict[tuple[str, str], Runner] = {}

    def run(self, candidate: Candidate, advance: Callable[[str], None]) -> _Run:
        steps = candidate.run.num_inference_steps
        call = partial(self._runner(candidate), steps)
        latents: list[torch.Tensor] = []
        memory = peak_memory(lambda: latents.append(call()), self._device)
        seconds, images = timed(lambda: self._subject.decode(latents[0]), self._device)
        macs = self._macs(candidate)
        advance(f"warm-up, {candidate.name}")
        return _Run(call, macs, memory, images, None if images is None else seconds)

    def _runner(self, candidate: Candidate) -> Runner:
        label = candidate.label if candidate.kind == "plan" else "dense"
        key = (label, candidate.run.solver)
        if key not in self._runners:
            compiled = self._prepared.settings.compiled
            self._runners[key] = self._subject.runner(
                candidate.run.solver, candidate.plan, compiled=compiled
            )
        return self._runners[key]

    def _macs(self, candidate: Candidate) -> int:
        """Counted in advance; by one more run where decisions depend on the data."""
        cost = self._prepared.costs[candidate.name]
        if not cost.data_dependent:
            return cost.macs_plan
        # Not the compiled one: inside compiled code nothing is dispatched that could be counted.
        run = self._subject.runner(candidate.run.solver, candidate.plan, compiled=False)
        with count_macs() as counter:
            run(candidate.run.num_inference_steps)
        return counter.total


def _converged(
    subject: Subject, settings: BenchSettings, advance: Callable[[str], None]
) -> torch.Tensor | None:
    """Pictures of dense UniPC with so many steps that more change nothing."""
    if settings.random_weights:
        return None
    images = subject.decode(
        subject.runner(CONVERGED_SOLVER, Plan(), compiled=False)(CONVERGED_STEPS)
    )
    advance("converged run")
    return images


def _rows(
    prepared: PreparedBench,
    runs: dict[str, _Run],
    timings: dict[str, Timing],
    converged: torch.Tensor | None,
) -> list[Measurement]:
    dense = {row.run: runs[row.name].images for row in prepared.candidates if row.kind == "dense"}
    return [
        Measurement(
            candidate=row,
            timing=timings[row.name],
            macs=runs[row.name].macs,
            memory=runs[row.name].memory,
            decode_seconds=runs[row.name].decode_seconds,
            to_dense=_fidelity(runs[row.name].images, dense[row.base]),
            to_converged=_fidelity(runs[row.name].images, converged),
        )
        for row in prepared.candidates
    ]


def _fidelity(images: torch.Tensor | None, reference: torch.Tensor | None) -> Fidelity | None:
    return None if images is None or reference is None else fidelity(images, reference)
