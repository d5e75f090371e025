"""Fitting every step of a run along the run's own path.

A plan's errors change what its later steps see, so each step is fitted where the steps before it,
as they were fitted, have led: its output is to bring the latents to where the reference path goes
on, whatever has been lost so far.

A search tries many choices of steps that differ in a place or two. Before that place a run is what
it was, so the best run so far is kept, and others go on where they part from it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dit_accel.calibration.denoiser import Denoiser, Trajectories
from dit_accel.calibration.evaluator import Compute, Evaluator, Outputs
from dit_accel.calibration.moments import RIDGE
from dit_accel.calibration.request import relative_error
from dit_accel.calibration.solver_step import SolverStep, solver_step
from dit_accel.errors import UnsupportedError
from dit_accel.forecast.predictors.calibrated import LeastSquares
from dit_accel.forecast.predictors.multistep import low_frequencies, mixed_bands, weighted
from dit_accel.methods.caching.predictors.multistep import CUTOFF, MultistepRow

HISTORY = 4
"""Data predictions that an output is made of, the present one included."""

DIFFERENCES = 2
"""Guidance differences."""


class _DivergedError(Exception):
    """The run holds NaN or Inf."""


@dataclass(frozen=True)
class Fitted:
    """A run that was fitted.

    Attributes:
        rows: the scalars of each step.
        error: of the final latents: see `relative_error`; infinite if the run has diverged, as in
            half precision it may, and then there are no scalars.
    """

    rows: tuple[MultistepRow, ...]
    error: float


@dataclass(frozen=True)
class _FittedStep:
    """What was computed, the scalars, and the output `[B, C, h, w]` that the solver was given."""

    outputs: Outputs | None
    row: MultistepRow
    given: torch.Tensor


class ClosedLoop:
    """Fits runs of all trajectories together.

    Args:
        denoiser: of the pipeline.
        trajectories: all of them.
        path: latents that enter each step, and the final ones.
    """

    def __init__(
        self, denoiser: Denoiser, trajectories: Trajectories, path: Sequence[torch.Tensor]
    ) -> None:
        self._denoiser, self._trajectories, self._path = denoiser, trajectories, path
        self._evaluator = Evaluator(denoiser, trajectories)
        self._best: tuple[float, list[_FittedStep]] = (math.inf, [])

    @property
    def forwards(self) -> float:
        """What all fits have cost so far, in dense steps of all trajectories."""
        rows = len(self._trajectories.seeds) * (1 + self._trajectories.guided)
        return self._evaluator.rows_run / rows

    def fit(self, computed: Collection[int], guided: Collection[int]) -> Fitted:
        """Fit a run.

        Args:
            computed: steps that run the transformer.
            guided: those of them that run the unconditional rows too.
        """
        self._computed, self._guided = set(computed), set(guided)
        self._seen: deque[tuple[int, torch.Tensor]] = deque(maxlen=HISTORY)
        self._differences: deque[tuple[int, torch.Tensor]] = deque(maxlen=DIFFERENCES)
        self._steps: list[_FittedStep] = []
        self._known = list(self._steps_in_common())
        self._called = 0
        self._outputs: Outputs | None = None
        try:
            with self._evaluator.in_place(self._evaluate):
                final = self._denoiser.run(self._trajectories, step=self._step)
        except _DivergedError:
            return Fitted((), math.inf)
        error = relative_error(final, self._path[-1])
        if not math.isfinite(error):  # the last step
            return Fitted((), math.inf)
        if error < self._best[0]:
            self._best = error, self._steps
        return Fitted(tuple(step.row for step in self._steps), error)

    def _steps_in_common(self) -> Iterator[_FittedStep]:
        """Those of the best run before the first one that this run computes differently."""
        for number, step in enumerate(self._best[1]):
            both = step.outputs is not None and step.outputs[1] is not None
            kept = (step.outputs is not None, both)
            if kept != (number in self._computed, number in self._guided):
                return
            yield step

    def _evaluate(self, compute: Compute) -> None:
        """The transformer's call in a step."""
        step = len(self._steps)
        if self._called > step:
            raise UnsupportedError(
                f"pipe: a second transformer call in step {step}, expected one a step; use a"
                " pipeline that has both guidance rows in one call"
            )
        self._called += 1
        self._outputs = None
        if step < len(self._known):
            self._outputs = self._known[step].outputs
        elif step in self._computed:
            self._outputs = compute(step in self._guided)

    def _step(
        self, step: Any, output: torch.Tensor, timestep: Any, sample: torch.Tensor, **kwargs: Any
    ) -> Any:
        """The solver's step, with the output that brings the latents nearest to the path."""
        number, count = len(self._steps), len(self._trajectories.seeds)
        solver = solver_step(self._denoiser.pipe.scheduler, timestep, sample, count, kwargs)
        outputs, self._outputs = self._outputs, None
        self._remember(number, solver, outputs)
        if number < len(self._known):
            fitted = self._known[number]
        else:
            row, found = self._fitted(number, solver)
            given = solver.output_of(found).to(output.dtype)
            fitted = _FittedStep(outputs, row, given)
        self._steps.append(fitted)
        given = fitted.given.repeat(len(output) // count, 1, 1, 1)
        return step(given, timestep, sample, **kwargs)

    def _remember(self, number: int, solver: SolverStep, outputs: Outputs | None) -> None:
        if outputs is None:
            return
        conditional, null = outputs
        self._seen.appendleft((number, solver.data_of(conditional)))
        if null is not None:
            difference = solver.q * (conditional.double() - null.double())
            self._differences.appendleft((number, difference))

    def _fitted(self, number: int, solver: SolverStep) -> tuple[MultistepRow, torch.Tensor]:
        terms = [value for _, value in (*self._seen, *self._differences)] + [solver.latents]
        wanted = solver.data_that_leads_to(self._path[number + 1])
        if wanted is None:
            wanted = weighted(terms, self._prior)
        if not all(bool(values.isfinite().all()) for values in (*terms, wanted)):
            raise _DivergedError
        lows = [low_frequencies(term, CUTOFF) for term in terms]
        low_target = low_frequencies(wanted, CUTOFF)
        low = self._solved(lows, low_target)
        highs = [term - smooth for term, smooth in zip(terms, lows, strict=True)]
        high = self._solved(highs, wanted - low_target)
        row = MultistepRow(
            step=number,
            factors=(solver.p, solver.q),
            conditional=tuple(at for at, _ in self._seen),
            differences=tuple(at for at, _ in self._differences),
            low=low,
            high=high,
        )
        return row, mixed_bands(weighted(terms, low), weighted(terms, high), CUTOFF)

    def _solved(self, terms: Sequence[torch.Tensor], target: torch.Tensor) -> tuple[float, ...]:
        equations = LeastSquares(len(terms))
        equations.update(target, terms)
        return tuple(equations.fit(self._prior, RIDGE).weights.tolist())

    @property
    def _prior(self) -> list[float]:
        """Plain guidance, its newest difference reused."""
        prior = [0.0] * (len(self._seen) + len(self._differences) + 1)
        prior[0] = 1.0
        if self._differences:
            prior[len(self._seen)] = self._trajectories.guidance_scale - 1.0
        return prior
