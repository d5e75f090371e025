"""What a calibration was asked for, and what its plans are measured with."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch

from dit_accel.calibration.denoiser import Denoiser, Trajectories
from dit_accel.calibration.plans import Workloads
from dit_accel.calibration.reference_path import reference_path
from dit_accel.calibration_record import (
    Calibration,
    Expected,
    Target,
    model_hash,
    sampled_weights,
    scheduler_settings,
)
from dit_accel.errors import DitAccelError, mismatch
from dit_accel.exact.config import ExactSetting
from dit_accel.measure.provenance import versions
from dit_accel.measure.timing import timed
from dit_accel.phase_report import Report
from dit_accel.plan import Plan


@dataclass(frozen=True)
class Request:
    """One calibration.

    Attributes:
        denoiser: of the pipeline.
        trajectories: to fit to.
        exact: the rewrites of the plan, and of the dense run that it is measured against.
        target: what the plan's final latents should come near to.
        report: told how far it is.
    """

    denoiser: Denoiser
    trajectories: Trajectories
    exact: ExactSetting
    target: Target
    report: Report

    @property
    def num_steps(self) -> int:
        """Evaluations of a dense run."""
        return len(self.denoiser.timesteps(self.trajectories.num_inference_steps))

    @functools.cached_property
    def path(self) -> list[torch.Tensor]:
        """Latents that enter the steps of the target's run, and its final ones; run once."""
        converged = self.target == "converged"
        return reference_path(self.denoiser, self.trajectories, converged, self.report)

    @property
    def workloads(self) -> Workloads:
        """Costs; known once something was run."""
        size = self.denoiser.latent_size
        assert size is not None
        batch = min(self.trajectories.batch_size, len(self.trajectories.seeds))
        return Workloads(
            self.denoiser.transformer, batch, self.trajectories.guided, size, self.exact
        )

    def record(self) -> Calibration:
        """What plans will be bound to."""
        transformer, scheduler = self.denoiser.transformer, self.denoiser.pipe.scheduler
        return Calibration(
            model=model_hash(transformer),
            weights=sampled_weights(transformer),
            scheduler=type(scheduler).__name__,
            scheduler_config=scheduler_settings(scheduler),
            num_inference_steps=self.num_steps,
            guidance_scale=self.trajectories.guidance_scale,
            target=self.target,
            seeds=self.trajectories.seeds,
            versions=tuple(sorted((key, str(value)) for key, value in versions().items())),
        )

    def run(self, plan: Plan) -> tuple[float, torch.Tensor]:
        """Seconds of the first batch under a plan, and the final latents `[B, C, h, w]` of all."""
        first, *others = self.trajectories.batches
        seconds, latents = self._timed(first, plan)
        return seconds, torch.cat([latents, *(self._timed(batch, plan)[1] for batch in others)])

    def _timed(self, batch: Trajectories, plan: Plan) -> tuple[float, torch.Tensor]:
        device = next(self.denoiser.transformer.parameters()).device
        return timed(lambda: self.denoiser.run(batch, plan), device)

    def described(self, plan: Plan, error: float, seconds: float) -> Plan:
        """A plan with what was measured of it."""
        dense_seconds, _ = self._timed(self.trajectories.batches[0], Plan(exact=self.exact))
        expected = Expected(
            speedup_macs=round(self.workloads.speedup(plan, self.num_steps), 3),
            speedup=round(dense_seconds / seconds, 3),
            seconds=round(seconds, 4),
            batch_size=len(self.trajectories.batches[0].seeds),
            latent_error=float(f"{error:.4g}"),
        )
        assert plan.calibration is not None
        calibration = plan.calibration.model_copy(update={"expected": expected})
        return plan.model_copy(update={"calibration": calibration})


def relative_error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Norm of the difference relative to that of what was wanted: the geometric mean over samples.

    A mean of decibels, that is: one sample that has gone another way must not decide for all.
    """
    off = torch.linalg.vector_norm((found - wanted).flatten(1).double(), dim=1)
    norm = torch.linalg.vector_norm(wanted.flatten(1).double(), dim=1)
    return float((off / norm).clamp_min(1e-12).log().mean().exp())


def too_fast(speedup: float, num_steps: int, remedy: str) -> DitAccelError:
    """No plan is that cheap."""
    expected = f"less: with {num_steps} steps no plan is that cheap"
    return DitAccelError("speedup: " + mismatch(speedup, expected, f"ask for less, or {remedy}"))
