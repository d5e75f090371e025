"""Where the latents of a run belong: on the trajectory that its solver converges to.

The same starting noise, and each of the run's own steps in several: so its latents have something
to be compared with at every step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

from dit_accel.calibration.denoiser import Denoiser, Trajectories
from dit_accel.phase_report import Report

CONVERGED_STEPS = 100
"""About so many, of a second-order solver: errors of a few per mille."""

_SOLVERS = (DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler)
# Noise levels that are no function of the training timesteps.
_OTHER_SIGMAS = (
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "use_lu_lambdas",
    "use_flow_sigmas",
)


class _Refined(DPMSolverMultistepScheduler):
    """A solver that takes its own timesteps, whatever number is asked for."""

    own_timesteps: list[int]

    def set_timesteps(self, num_inference_steps: Any = None, device: Any = None, **_: Any) -> None:
        super().set_timesteps(timesteps=self.own_timesteps, device=device)


def converges(scheduler: Any) -> bool:
    """Whether the trajectory that a solver converges to can be had: it is one without noise, its
    timesteps are those of the training, and it does not clip."""
    config = scheduler.config
    return (
        isinstance(scheduler, _SOLVERS)
        and config.get("prediction_type") in ("epsilon", "v_prediction", "sample")
        and not any(config.get(name) for name in _OTHER_SIGMAS)
        and not config.get("thresholding")
        and not (isinstance(scheduler, DDIMScheduler) and config.get("clip_sample"))
        and "sde" not in str(config.get("algorithm_type"))
    )


def reference_path(
    denoiser: Denoiser,
    trajectories: Trajectories,
    converged: bool,
    report: Report,
) -> list[torch.Tensor]:
    """The latents `[B, C, h, w]` that enter the steps of a run, and last those it ends with.

    Args:
        denoiser: of the pipeline.
        trajectories: the run.
        converged: on the trajectory that the solver converges to, or else on the dense run's.
        report: told after each batch.
    """
    timesteps = denoiser.timesteps(trajectories.num_inference_steps)
    batches = []
    with _solver(denoiser, timesteps if converged else None):
        for batch in trajectories.batches:
            batches.append(_recorded(denoiser, batch, timesteps))
            report("trajectories", len(batches), len(trajectories.batches))
    return [torch.cat(parts) for parts in zip(*batches, strict=True)]


@contextmanager
def _solver(denoiser: Denoiser, timesteps: list[int] | None) -> Iterator[None]:
    """The pipeline's own, or a converged one that comes by these timesteps."""
    own = denoiser.pipe.scheduler
    if timesteps is not None:
        denoiser.pipe.scheduler = _refined(own, timesteps)
    try:
        yield
    finally:
        denoiser.pipe.scheduler = own


def _refined(scheduler: Any, timesteps: list[int]) -> _Refined:
    ends = "zero" if scheduler.config.get("set_alpha_to_one", True) else "sigma_min"
    refined = _Refined.from_config(
        scheduler.config,
        algorithm_type="dpmsolver++",
        solver_order=2,
        thresholding=False,
        final_sigmas_type=scheduler.config.get("final_sigmas_type", ends),
    )
    refined.own_timesteps = _between(timesteps)
    assert isinstance(refined, _Refined)
    return refined


def _between(timesteps: list[int]) -> list[int]:
    """Each gap in as many equal parts, the one after the last timestep too: a multistep solver
    loses accuracy where its steps are of uneven length."""
    parts = max(2, round(CONVERGED_STEPS / len(timesteps)))
    gaps = pairwise([*timesteps, 0])
    found = {round(a + (b - a) * part / parts) for a, b in gaps for part in range(parts)}
    return sorted(found, reverse=True)


def _recorded(denoiser: Denoiser, batch: Trajectories, timesteps: list[int]) -> list[torch.Tensor]:
    seen: dict[int, torch.Tensor] = {}

    def see(step: Any, output: torch.Tensor, timestep: Any, sample: torch.Tensor, **kw: Any) -> Any:
        seen[round(float(timestep))] = sample[: len(batch.seeds)]
        return step(output, timestep, sample, **kw)

    final = denoiser.run(batch, step=see)
    return [*(seen[timestep] for timestep in timesteps), final]
