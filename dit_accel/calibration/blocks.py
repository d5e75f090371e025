"""Plans that forecast guidance differences and deep blocks, for any solver.

1. A few dense trajectories give the features (`recording`), others the weight of each step's errors
   (`sensitivity`).
2. Every split of the budget gets its best sets of steps by dynamic programming (`candidates`).
3. The most promising plans are really run on the same seeds: a forecast's error changes what later
   steps see, which no sum of single errors tells. The one whose final latents come nearest to the
   dense run's is taken.
4. Its weights are fitted once more, to what a dense transformer says along the plan's own
   trajectories, and kept if that comes nearer still.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from dit_accel.calibration.candidates import candidates
from dit_accel.calibration.plans import SNAPSHOTS, calibrated_plan
from dit_accel.calibration.recording import Recorder, Recording
from dit_accel.calibration.request import Request, relative_error, too_fast
from dit_accel.calibration.schedules import Choice
from dit_accel.calibration.sensitivity import measured_sensitivity
from dit_accel.plan import Plan

FIRST_BLOCKS = (1, 2)
"""Where the remembered blocks may begin: those before see the present latents in each step."""

CANDIDATES = 6
"""Plans that are really run."""

PROBED_SAMPLES = 2
"""Trajectories that are disturbed, each at several steps."""


@dataclass(frozen=True)
class _Outcome:
    """A plan that was run: relative error of its final latents, seconds of the first batch."""

    choice: Choice
    plan: Plan
    error: float
    seconds: float


def best_of_blocks(request: Request, speedup: float) -> Plan:
    """The plan nearest to the dense run.

    Raises:
        DitAccelError: no plan is as fast as that.
    """
    layers = len(request.denoiser.backbone.blocks(request.denoiser.transformer))
    firsts = [first for first in FIRST_BLOCKS if first < layers] or [0]
    recording, dense = _recorded(request, firsts, None)
    choices = _choices(request, speedup, recording, dense)
    if not choices:
        raise too_fast(speedup, request.num_steps, "use fewer steps of the solver")
    outcomes = []
    for choice in choices:
        outcomes.append(_outcome(request, choice, recording, dense))
        request.report("candidates", len(outcomes), len(choices))
    best = min(outcomes, key=lambda outcome: outcome.error)
    again, _ = _recorded(request, firsts, best.plan)
    fitted_again = _outcome(request, best.choice, again, dense)
    best = min(best, fitted_again, key=lambda outcome: outcome.error)
    return request.described(best.plan, best.error, best.seconds)


def _recorded(
    request: Request, firsts: list[int], plan: Plan | None
) -> tuple[Recording, torch.Tensor]:
    recording = Recording(request.num_steps, firsts)
    recorder = Recorder(request.denoiser, recording, plan)
    finals = []
    for batch in request.trajectories.batches:
        finals.append(recorder.record(batch))
        request.report("trajectories", len(finals), len(request.trajectories.batches))
    return recording, torch.cat(finals)


def _choices(
    request: Request, speedup: float, recording: Recording, dense: torch.Tensor
) -> list[Choice]:
    workloads, num_steps = request.workloads, request.num_steps
    probed = range(min(PROBED_SAMPLES, len(dense)))
    some = request.trajectories.some(probed)
    sensitivity = measured_sensitivity(request.denoiser, some, dense, num_steps, request.report)
    firsts = recording.firsts
    return candidates(
        recording,
        sensitivity,
        costs={first: workloads.step_costs(first) for first in firsts},
        budgets={first: workloads.budget(speedup, num_steps, first) for first in firsts},
        guidance_scale=request.trajectories.guidance_scale,
        snapshots=SNAPSHOTS,
        count=CANDIDATES,
    )


def _outcome(
    request: Request, choice: Choice, recording: Recording, dense: torch.Tensor
) -> _Outcome:
    plan = calibrated_plan(
        choice,
        request.num_steps,
        partial(recording.fit_blocks, choice.first),
        recording.fit_guidance,
        request.exact,
        request.record(),
    )
    seconds, finals = request.run(plan)
    return _Outcome(choice, plan, relative_error(finals, dense), seconds)
