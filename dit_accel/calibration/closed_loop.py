"""Fitting every step of a run along the run's own path.

A plan's errors change what its later steps see, so each step is fitted where the steps before it,
as they were fitted, have led: its output is to bring the latents to where the reference path goes
on, whatever has been lost so far. What is asked of an output follows from the solver: one step is
affine in it, `x' = s + b y`, for any state that the solver is in.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from dit_accel.calibration.denoiser import Denoiser, Trajectories
from dit_accel.calibration.head import rows_of
from dit_accel.calibration.moments import RIDGE
from dit_accel.calibration.request import relative_error
from dit_accel.errors import UnsupportedError
from dit_accel.forecast.predictors.calibrated import LeastSquares
from dit_accel.forecast.predictors.multistep import (
    data_prediction,
    low_frequencies,
    mixed_bands,
    weighted,
)
from dit_accel.integration.calls import argument_names, named_arguments, output_of
from dit_accel.methods.caching.output_run import empty_output
from dit_accel.methods.caching.predictors.multistep import CUTOFF, MultistepRow

HISTORY = 4
"""Data predictions that an output is made of, the present one included."""

DIFFERENCES = 2
"""Guidance differences."""

_NO_GAIN = 1e-6
"""Below, a step leaves the latents where they are, whatever the output: schedules whose last noise
level is that of their last timestep have one."""


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


class ClosedLoop:
    """Runs all trajectories together, `batch_size` samples at a time in the transformer.

    Args:
        denoiser: of the pipeline.
        trajectories: all of them.
        path: latents that enter each step, and the final ones.
    """

    def __init__(
        self, denoiser: Denoiser, trajectories: Trajectories, path: Sequence[torch.Tensor]
    ) -> None:
        self._denoiser, self._trajectories, self._path = denoiser, trajectories, path
        self._names = argument_names(denoiser.transformer)
        self._channels = int(denoiser.transformer.config.in_channels)

    def fit(self, computed: Collection[int], guided: Collection[int]) -> Fitted:
        """Fit a run.

        Args:
            computed: steps that run the transformer.
            guided: those of them that run the unconditional rows too.
        """
        self._computed, self._guided = set(computed), set(guided)
        self._seen: deque[tuple[int, torch.Tensor]] = deque(maxlen=HISTORY)
        self._differences: deque[tuple[int, torch.Tensor]] = deque(maxlen=DIFFERENCES)
        self._rows: list[MultistepRow] = []
        self._called = 0
        self._outputs: tuple[torch.Tensor, torch.Tensor | None] | None = None
        try:
            with self._in_place_of_the_transformer():
                final = self._denoiser.run(self._trajectories, step=self._step)
        except _DivergedError:
            return Fitted((), math.inf)
        return Fitted(tuple(self._rows), relative_error(final, self._path[-1]))

    @contextmanager
    def _in_place_of_the_transformer(self) -> Iterator[None]:
        transformer = self._denoiser.transformer
        own = vars(transformer).get("forward")  # of somebody's hooks
        self._forward = transformer.forward
        transformer.forward = self._evaluate
        try:
            yield
        finally:
            if own is None:
                del transformer.forward
            else:
                transformer.forward = own

    def _evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """The rows that the step computes; what is returned is replaced in the solver's step."""
        arguments = named_arguments(self._names, args, kwargs)
        hidden: torch.Tensor = arguments["hidden_states"]
        step = len(self._rows)
        if self._called > step:
            raise UnsupportedError(
                f"pipe: a second transformer call in step {step}, expected one a step; use a"
                " pipeline that has both guidance rows in one call"
            )
        self._called += 1
        if step in self._computed:
            self._outputs = self._both(arguments, len(hidden), step in self._guided)
        return empty_output(self._denoiser.transformer, arguments, len(hidden))

    def _both(
        self, arguments: Mapping[str, Any], count: int, guided: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Conditional outputs `[B, C, h, w]`, and the unconditional ones."""
        rows = self._denoiser.conditional_rows(count, self._trajectories)
        first, samples = rows.start, len(self._trajectories.seeds)
        parts = []
        for start in range(0, samples, self._trajectories.batch_size):
            some = torch.arange(start, min(start + self._trajectories.batch_size, samples))
            parts.append(self._output(arguments, count, first + some))
            if guided:
                parts.append(self._output(arguments, count, samples - first + some))
        if not guided:
            return torch.cat(parts), None
        return torch.cat(parts[::2]), torch.cat(parts[1::2])

    def _output(self, arguments: Mapping[str, Any], count: int, rows: torch.Tensor) -> torch.Tensor:
        rows = rows.to(arguments["hidden_states"].device)
        output = output_of(self._forward(**rows_of(arguments, rows, count)))
        return output[:, : self._channels]

    def _step(
        self, step: Any, output: torch.Tensor, timestep: Any, sample: torch.Tensor, **kwargs: Any
    ) -> Any:
        """The solver's step, with the output that brings the latents nearest to the path."""
        scheduler, count = self._denoiser.pipe.scheduler, len(self._trajectories.seeds)
        number = len(self._rows)
        alpha_bar = float(scheduler.alphas_cumprod[round(float(timestep))])
        p, q = data_prediction(scheduler.config.prediction_type, alpha_bar)
        latents = sample[:count].double()
        self._remember(number, latents, p, q)

        def response(value: float) -> torch.Tensor:
            # On a copy: a step moves what the solver remembers. In float64, because the two
            # responses hardly differ where a step is short.
            state, constant = copy.deepcopy(scheduler), torch.full_like(output.double(), value)
            settings = {**kwargs, "return_dict": False}
            moved = type(scheduler).step(state, constant, timestep, sample.double(), **settings)[0]
            found: torch.Tensor = moved[:count].double()
            return found

        still = response(0.0)
        gain = float((response(1.0) - still).mean())
        terms = [value for _, value in (*self._seen, *self._differences)] + [latents]
        if abs(gain) > _NO_GAIN:
            wanted = p * latents + q * (self._path[number + 1].double() - still) / gain
        else:
            wanted = weighted(terms, self._prior)
        if not all(bool(values.isfinite().all()) for values in (*terms, wanted)):
            raise _DivergedError
        row, found = self._fitted(number, terms, wanted, (p, q))
        self._rows.append(row)
        fitted = ((found - p * latents) / q).to(output.dtype)
        return step(fitted.repeat(len(output) // count, 1, 1, 1), timestep, sample, **kwargs)

    def _remember(self, number: int, latents: torch.Tensor, p: float, q: float) -> None:
        if self._outputs is None:
            return
        conditional, null = self._outputs
        self._outputs = None
        self._seen.appendleft((number, p * latents + q * conditional.double()))
        if null is not None:
            difference = q * (conditional - null).double()
            self._differences.appendleft((number, difference))

    def _fitted(
        self,
        number: int,
        terms: Sequence[torch.Tensor],
        wanted: torch.Tensor,
        factors: tuple[float, float],
    ) -> tuple[MultistepRow, torch.Tensor]:
        lows = [low_frequencies(term, CUTOFF) for term in terms]
        low_target = low_frequencies(wanted, CUTOFF)
        low = self._solved(lows, low_target)
        highs = [term - smooth for term, smooth in zip(terms, lows, strict=True)]
        high = self._solved(highs, wanted - low_target)
        row = MultistepRow(
            step=number,
            factors=factors,
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
