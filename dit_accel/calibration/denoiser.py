"""Runs of a pipeline through its own `__call__`, on a copy that shares its weights."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

import dit_accel
from dit_accel.backbones import find_backbone
from dit_accel.calibration.conditions import of_samples
from dit_accel.errors import UnsupportedError
from dit_accel.install import installation_of
from dit_accel.plan import Plan
from dit_accel.sampling.variants import shared_copy

Step = Callable[..., Any]
"""In place of a scheduler's `step`: gets that first, then its arguments."""


@dataclass(frozen=True)
class Trajectories:
    """What is run.

    Attributes:
        num_inference_steps: evaluations of the solver.
        guidance_scale: classifier-free guidance above 1.
        seeds: one a sample.
        conditions: arguments of the pipeline's call, with one entry a seed.
        batch_size: samples at a time.
    """

    num_inference_steps: int
    guidance_scale: float
    seeds: tuple[int, ...]
    conditions: Mapping[str, Any]
    batch_size: int

    @property
    def guided(self) -> bool:
        """Whether every sample has two rows."""
        return self.guidance_scale > 1

    @property
    def batches(self) -> list[Trajectories]:
        """The same, `batch_size` samples at a time."""
        count, size = len(self.seeds), self.batch_size
        return [
            self.some(range(start, min(start + size, count))) for start in range(0, count, size)
        ]

    def some(self, samples: Sequence[int]) -> Trajectories:
        """The trajectories of some samples, which may be named more than once."""
        seeds = tuple(self.seeds[sample] for sample in samples)
        conditions = of_samples(self.conditions, samples, len(self.seeds))
        return replace(self, seeds=seeds, conditions=conditions)


class Denoiser:
    """A pipeline of one's own around the weights of `pipe`.

    Args:
        pipe: a diffusers pipeline with a transformer; it is left as it is.

    Attributes:
        pipe: the copy; it has its own transformer modules, its own scheduler and no plan.
        latent_size: height and width of the latents, once something was run.
    """

    def __init__(self, pipe: Any) -> None:
        with dit_accel.accelerated(pipe, Plan()):
            self.pipe = copy.copy(pipe)
            self.pipe.transformer = shared_copy(pipe.transformer)
        self.pipe.scheduler = copy.deepcopy(pipe.scheduler)
        if hasattr(self.pipe, "set_progress_bar_config"):
            self.pipe.set_progress_bar_config(disable=True)
        self.backbone = find_backbone(self.pipe.transformer)
        self._latents: torch.Tensor | None = None
        self.latent_size: tuple[int, int] | None = None

    @property
    def transformer(self) -> Any:
        """The transformer of the copy."""
        return self.pipe.transformer

    @torch.no_grad()
    def run(
        self, trajectories: Trajectories, plan: Plan | None = None, step: Step | None = None
    ) -> torch.Tensor:
        """Denoise one batch.

        Args:
            trajectories: what.
            plan: to be in place; `None` leaves what is.
            step: called in place of the scheduler's, which it gets as its first argument.

        Returns:
            Final latents `[B, C, h, w]`.
        """
        if plan is not None:
            dit_accel.accelerate(self.pipe, plan)
        try:
            with self._listening(step):
                # CPU generators: a seed then means the same noise on every device.
                generators = [torch.Generator().manual_seed(seed) for seed in trajectories.seeds]
                self.pipe(
                    **trajectories.conditions,
                    guidance_scale=trajectories.guidance_scale,
                    num_inference_steps=trajectories.num_inference_steps,
                    generator=generators,
                    output_type="latent",
                )
        finally:
            if installation_of(self.pipe) is not None:
                dit_accel.restore(self.pipe)
        assert self._latents is not None
        height, width = self._latents.shape[-2:]
        self.latent_size = (height, width)
        # Stock pipelines carry both guidance rows of a sample to the end.
        latents, self._latents = self._latents[: len(trajectories.seeds)], None
        return latents

    @contextmanager
    def _listening(self, instead: Step | None) -> Iterator[None]:
        """Keep what the scheduler returns: stock pipelines may decode it, and clamp the pixels."""
        scheduler = self.pipe.scheduler
        step = scheduler.step
        taken = step if instead is None else functools.partial(instead, step)

        @functools.wraps(step)
        def kept(*args: Any, **kwargs: Any) -> Any:
            result = taken(*args, **kwargs)
            self._latents = result[0] if isinstance(result, tuple) else result.prev_sample
            return result

        scheduler.step = kept
        try:
            yield
        finally:
            del scheduler.step

    def conditional_rows(self, rows: int, trajectories: Trajectories) -> slice:
        """Where the conditional rows lie among the `rows` of a transformer call.

        Raises:
            UnsupportedError: there are not one or, with guidance, two rows a sample.
        """
        samples = len(trajectories.seeds)
        if rows != samples * (1 + trajectories.guided):
            raise UnsupportedError(
                f"pipe: {rows} rows in a transformer call for {samples} samples, expected"
                f" {samples * (1 + trajectories.guided)}; calibrate works with one image a"
                " condition and with both guidance rows in one call"
            )
        first = 0 if self.backbone.conditional_first or not trajectories.guided else samples
        return slice(first, first + samples)

    def timesteps(self, num_inference_steps: int) -> list[int]:
        """One for each evaluation of a run: some solvers make two a step."""
        scheduler = copy.deepcopy(self.pipe.scheduler)
        scheduler.set_timesteps(num_inference_steps)
        return [round(float(timestep)) for timestep in scheduler.timesteps]
