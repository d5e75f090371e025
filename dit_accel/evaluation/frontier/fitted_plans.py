"""The calibrated plans of a frontier: fitted once, on selection seeds, and kept in its folder."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dit_accel.calibration.calibrate import calibration_of
from dit_accel.calibration.command import conditions_of
from dit_accel.calibration.denoiser import Trajectories
from dit_accel.calibration_record import Target
from dit_accel.exact.config import Exact
from dit_accel.measure.candidates import Base
from dit_accel.phase_report import Report
from dit_accel.plan import Plan
from dit_accel.plan_folder import PLAN_FILE
from dit_accel.sampling.loading import default_device, load_pipeline
from dit_accel.sampling.solvers import make_scheduler

if TYPE_CHECKING:
    from dit_accel.evaluation.frontier.config import FrontierConfig
    from dit_accel.evaluation.frontier.prepare import PreparedFrontier


@dataclass(frozen=True)
class FittedPlan:
    """One of them.

    Attributes:
        base: solver and steps.
        speedup: MACs of the dense run divided by the plan's.
        target: what it comes near to.
        folder: of the plan.
    """

    base: Base
    speedup: float
    target: Target
    folder: Path

    @property
    def label(self) -> str:
        """Its name in tables."""
        return f"calibrated {self.speedup:g}x to {self.target}"

    @property
    def is_there(self) -> bool:
        """Whether it has been fitted."""
        return (self.folder / PLAN_FILE).is_file()


def fitted_plans(config: FrontierConfig) -> Iterator[FittedPlan]:
    """All that a frontier asks for."""
    for runs in config.calibrated:
        for speedup in runs.speedups:
            base = f"{runs.base.solver}-{runs.base.num_inference_steps}"
            name = f"{base}-{speedup:g}x-{runs.target}-{config.calibration_seeds}"
            folder = Path(config.output) / "plans" / name
            yield FittedPlan(runs.base, speedup, runs.target, folder)


def missing_plans(config: FrontierConfig) -> list[FittedPlan]:
    """Those that are to be fitted yet."""
    return [plan for plan in fitted_plans(config) if not plan.is_there]


def fit_missing(prepared: PreparedFrontier, report: Report) -> None:
    """Fit and write the plans that are not there yet, on the first of the selection seeds.

    Args:
        prepared: of the selection seeds.
        report: told which one is being fitted, and how far it is.

    Raises:
        DitAccelError: no plan is as fast as one of them should be.
    """
    config = prepared.config
    missing = missing_plans(config)
    if not missing:
        return
    pipe = load_pipeline(config.model, config.dtype, default_device())
    own = pipe.scheduler.config
    specs = prepared.specs[: config.calibration_seeds]
    conditions = conditions_of(pipe, specs, config.guidance_scale)
    seeds = tuple(spec.seed for spec in specs)
    under_way = ""

    def told(phase: str, done: int, total: int) -> None:
        report(f"{under_way}, {phase}", done, total)

    @functools.cache
    def calibration(base: Base, target: Target) -> Callable[[float], Plan]:
        pipe.scheduler = make_scheduler(base.solver, own)
        trajectories = Trajectories(
            base.num_inference_steps, config.guidance_scale, seeds, conditions, config.batch_size
        )
        return calibration_of(pipe, trajectories, target, Exact(), told)

    for number, plan in enumerate(missing, start=1):
        under_way = f"{plan.label} ({number} of {len(missing)})"
        _keep(calibration(plan.base, plan.target)(plan.speedup), plan.folder)


def _keep(plan: Plan, folder: Path) -> None:
    """Written beside and renamed, so that a plan that is there is whole."""
    beside = folder.with_name(folder.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    plan.save(beside)
    beside.rename(folder)
