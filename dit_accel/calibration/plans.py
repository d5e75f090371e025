"""Plans of a choice of steps: with weights to run, without to be counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from dit_accel.calibration.moments import StepFit
from dit_accel.calibration.schedules import Choice, Costs, Steps, history
from dit_accel.calibration_record import Calibration
from dit_accel.exact.config import ExactSetting
from dit_accel.measure.architectures import Architecture
from dit_accel.measure.plan_macs import RunCost, Workload, run_cost
from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.policies.calibrated import CalibratedSteps
from dit_accel.methods.caching.policies.listed_steps import ListedSteps
from dit_accel.methods.caching.predictors.calibrated import Calibrated, StepWeights
from dit_accel.methods.caching.predictors.reuse import Reuse
from dit_accel.methods.caching.sites.deep import DeepSite
from dit_accel.methods.caching.sites.guidance import GuidanceSite
from dit_accel.methods.caching.sites.model import ModelSite
from dit_accel.methods.caching.sites.site import Site
from dit_accel.plan import Plan

SNAPSHOTS = 2
"""Computed steps that a forecast goes by."""

FitOf = Callable[[int, Steps], StepFit]
"""The fit of a step after the computed steps, newest first."""


def calibrated_plan(
    choice: Choice,
    num_steps: int,
    fit_blocks: FitOf,
    fit_guidance: FitOf,
    exact: ExactSetting,
    calibration: Calibration,
) -> Plan:
    """The plan of a choice, with the weights of every forecast that it makes."""
    caches = []
    if calibration.guided and len(choice.guidance) < num_steps:
        caches.append(_cache(GuidanceSite(), choice.guidance, num_steps, fit_guidance))
    if len(choice.blocks) < num_steps:
        caches.append(_cache(_site(choice.first), choice.blocks, num_steps, fit_blocks))
    return Plan(exact=exact, cache=tuple(caches), calibration=calibration)


def _site(first: int) -> Site:
    return DeepSite(first=first) if first else ModelSite()


def _cache(site: Site, computed: Steps, num_steps: int, fit_of: FitOf) -> CacheConfig:
    rows = []
    for step, after in forecasts(computed, num_steps):
        fit = fit_of(step, after)
        rows.append(StepWeights(step=step, after=after, weights=fit.weights, input=fit.input))
    policy = CalibratedSteps(compute=computed)
    return CacheConfig(site=site, predictor=Calibrated(table=tuple(rows)), policy=policy)


def forecasts(computed: Steps, num_steps: int) -> Iterator[tuple[int, Steps]]:
    """Every step that is forecast, and after which computed ones, newest first."""
    for start, end in pairwise((*computed, num_steps)):
        for step in range(start + 1, end):
            yield step, history(computed, step, SNAPSHOTS)


@dataclass(frozen=True)
class Workloads:
    """What steps and runs of a transformer cost, in MACs.

    Attributes:
        transformer: whose config counts.
        batch: samples.
        guided: whether each has two rows.
        latent_size: height and width of the latents.
        exact: rewrites that dense runs have too.
    """

    transformer: Any
    batch: int
    guided: bool
    latent_size: tuple[int, int]
    exact: ExactSetting

    def step_costs(self, first: int) -> Costs:
        """Cost of the three kinds of steps, the blocks from `first` on being remembered."""
        blocks = _counted(_site(first), (0, 1, 2))
        rows = [_counted(GuidanceSite(), (0,))] if self.guided else []
        cheap = self._macs(4, *rows, blocks)[3]
        return Costs(half=self.half, cheap=cheap / self._macs(3)[1])

    @property
    def half(self) -> float:
        """Cost of a step of the conditional rows alone, relative to one of all rows."""
        # Of equal steps the second: the first one also pays for what exact rewrites keep.
        return self._macs_alone[1] / self._macs(3)[1] if self.guided else 1.0

    @property
    def _macs_alone(self) -> tuple[int, int]:
        """MACs of the first and of another step of the conditional rows alone."""
        _, first, other = self._macs(3, _counted(GuidanceSite(), (0,)))
        return first, other

    def budget(self, speedup: float, num_steps: int, first: int | None = None) -> float:
        """What a run may cost so as to be faster by this factor, in equal dense steps.

        The first step of all rows, and of the conditional ones, costs more than others where exact
        rewrites keep what it computes.

        Args:
            speedup: MACs of the dense run divided by those of the plan.
            num_steps: of the run.
            first: of the blocks that are remembered, if any are.
        """
        dense = self._macs(num_steps)
        remembered = [] if first is None else [_counted(_site(first), (0,))]
        begun = self._macs(num_steps, *remembered)[0]
        alone, other = self._macs_alone if self.guided else (0, 0)
        return (sum(dense) / speedup - begun - (alone - other)) / dense[1] + 1

    def speedup(self, plan: Plan, num_steps: int) -> float:
        """MACs of the dense run divided by those of a plan."""
        dense = self._cost(Plan(exact=self.exact), num_steps)
        return dense.macs_plan / self._cost(plan, num_steps).macs_plan

    def _macs(self, num_steps: int, *caches: CacheConfig) -> list[int]:
        """Of each step of a run with these caches."""
        plan = Plan(exact=self.exact, cache=caches) if caches else Plan(exact=self.exact)
        return [step.macs for step in self._cost(plan, num_steps).steps]

    def _cost(self, plan: Plan, num_steps: int) -> RunCost:
        config = dict(self.transformer.config)
        architecture = Architecture("calibrated", type(self.transformer), config)
        workload = Workload(num_steps, self.batch, self.guided, self.latent_size)
        return run_cost(architecture, plan, workload)


def _counted(site: Site, computed: Steps) -> CacheConfig:
    return CacheConfig(site=site, predictor=Reuse(), policy=ListedSteps(compute=computed))
