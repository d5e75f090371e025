"""Solvers by name, built so that they differ in nothing but the solver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from pydantic import AfterValidator

from dit_accel.errors import DitAccelError, nearest, show

SOLVERS: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "DDIM": (DDIMScheduler, {}),
    "DDPM": (DDPMScheduler, {}),
    "DPMSolver++": (
        DPMSolverMultistepScheduler,
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "variance_type": None},
    ),
    "UniPC": (UniPCMultistepScheduler, {"solver_order": 2}),
    "Euler": (EulerDiscreteScheduler, {}),
}
DETERMINISTIC_SOLVERS = tuple(name for name in SOLVERS if name != "DDPM")
# Clipping to [-1, 1] means nothing for latents, and multistep solvers have no such option: left on
# for some it would make the others look better or worse than they are.
_SHARED = {"clip_sample": False, "thresholding": False}


def check_solver(name: str) -> str:
    """Return ``name`` if it is a known solver.

    Raises:
        DitAccelError: it is none of ``SOLVERS``.
    """
    if name not in SOLVERS:
        raise DitAccelError(f"scheduler: got {show(name)}, {expected_solver(name)}")
    return name


def expected_solver(name: str) -> str:
    """What a scheduler's name may be, and the one nearest to ``name``."""
    by_lower = {solver.lower(): solver for solver in SOLVERS}
    found = nearest(name, by_lower)
    remedy = f"did you mean {by_lower[found]!r}?" if found else "use one of these"
    return f"expected one of {', '.join(SOLVERS)}; {remedy}"


def _known(name: str) -> str:
    if name not in SOLVERS:
        raise ValueError(expected_solver(name))
    return name


SolverName = Annotated[str, AfterValidator(_known)]
"""The field of a config that names one of ``SOLVERS``."""


def make_scheduler(name: str, config: Mapping[str, Any]) -> Any:
    """Build a solver on a model's own noise schedule, timestep spacing and prediction type.

    Args:
        name: one of ``SOLVERS``.
        config: the config of the scheduler that the model came with.

    Raises:
        DitAccelError: an unknown name.
    """
    settings = solver_settings(name, config)
    return SOLVERS[name][0].from_config(settings)


def solver_settings(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config that ``make_scheduler`` builds a solver from: the model's own, and the solver's.

    Raises:
        DitAccelError: an unknown name.
    """
    return {**config, **_SHARED, **SOLVERS[check_solver(name)][1]}


def shared_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What all solvers of a comparison have in common, for its report."""
    keys = ("beta_schedule", "prediction_type", "timestep_spacing", "rescale_betas_zero_snr")
    return {key: config.get(key) for key in keys} | _SHARED
