"""Plans that make each output of several steps' outputs, fitted along their own path."""

from __future__ import annotations

from dit_accel.calibration.closed_loop import ClosedLoop, Fitted
from dit_accel.calibration.places import Budget, Places, best_places
from dit_accel.calibration.request import Request, relative_error, too_fast
from dit_accel.errors import DitAccelError
from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.policies.calibrated import CalibratedSteps
from dit_accel.methods.caching.predictors.multistep import Multistep
from dit_accel.methods.caching.predictors.reuse import Reuse
from dit_accel.methods.caching.sites.guidance import GuidanceSite
from dit_accel.methods.caching.sites.output import OutputSite
from dit_accel.plan import Plan

FORWARDS = 300
"""About what the search may cost, in dense steps of all trajectories."""

FITS = 150
"""The most choices of steps that are really run."""


def best_multistep(request: Request, speedup: float) -> Plan:
    """The plan whose final latents come nearest to the target.

    Raises:
        DitAccelError: no plan is as fast as that, or no run stays finite.
    """
    loop = ClosedLoop(request.denoiser, request.trajectories, request.path)
    fits: dict[Places, Fitted] = {}

    def spent() -> float:
        return min(1.0, max(len(fits) / FITS, loop.forwards / FORWARDS))

    def score(places: Places) -> float:
        fits[places] = loop.fit(*places)
        request.report("search", round(100 * spent()), 100)
        return fits[places].error

    num_steps, workloads = request.num_steps, request.workloads
    dense_steps = workloads.budget(speedup, num_steps)
    budget = Budget(num_steps, dense_steps, workloads.half, request.trajectories.guided)
    if not budget.splits():
        raise too_fast(speedup, num_steps, "use more steps of the solver")
    best = best_places(budget, score, lambda: spent() == 1)
    if not fits[best].rows:
        raise DitAccelError(
            f"pipe: every run in {request.denoiser.transformer.dtype} has come to NaN or Inf,"
            " expected finite latents; calibrate the pipeline in float32"
        )
    plan = multistep_plan(request, best, fits[best])
    seconds, finals = request.run(plan)
    return request.described(plan, relative_error(finals, request.path[-1]), seconds)


def multistep_plan(request: Request, places: Places, fitted: Fitted) -> Plan:
    """The plan of a fitted run."""
    caches = []
    if request.trajectories.guided and len(places.guided) < len(places.computed):
        policy = CalibratedSteps(compute=places.guided)
        caches.append(CacheConfig(site=GuidanceSite(), predictor=Reuse(), policy=policy))
    caches.append(
        CacheConfig(
            site=OutputSite(),
            predictor=Multistep(table=fitted.rows),
            policy=CalibratedSteps(compute=places.computed),
        )
    )
    return Plan(exact=request.exact, cache=tuple(caches), calibration=request.record())
