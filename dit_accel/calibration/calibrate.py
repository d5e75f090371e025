"""`dit_accel.calibrate`: fit the predictors and the sets of computed steps to a model.

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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from dit_accel.calibration.candidates import candidates
from dit_accel.calibration.conditions import conditions_for
from dit_accel.calibration.denoiser import Denoiser, Trajectories
from dit_accel.calibration.plans import SNAPSHOTS, Workloads, calibrated_plan
from dit_accel.calibration.recording import Recorder, Recording
from dit_accel.calibration.schedules import Choice
from dit_accel.calibration.sensitivity import measured_sensitivity, probed_steps
from dit_accel.calibration_record import (
    Calibration,
    Expected,
    model_hash,
    sampled_weights,
    scheduler_settings,
)
from dit_accel.errors import DitAccelError, mismatch
from dit_accel.exact.config import ExactSetting, read_exact
from dit_accel.measure.provenance import versions
from dit_accel.measure.timing import timed
from dit_accel.plan import Plan

FIRST_BLOCKS = (1, 2)
"""Where the remembered blocks may begin: those before see the present latents in each step."""

CANDIDATES = 6
"""Plans that are really run."""

PROBED_SAMPLES = 2
"""Trajectories that are disturbed, each at several steps."""

Advance = Callable[[str], None]


@dataclass(frozen=True)
class _Outcome:
    """A plan that was run: relative error of its final latents, seconds of the first batch."""

    choice: Choice
    plan: Plan
    error: float
    seconds: float


def calibrate(
    pipe: Any,
    *,
    num_inference_steps: int,
    guidance_scale: float,
    speedup: float,
    seeds: Sequence[int] = tuple(range(8)),
    conditions: Mapping[str, Any] | None = None,
    batch_size: int = 8,
    exact: bool | Mapping[str, bool] = True,
    advance: Advance = lambda finished: None,
) -> Plan:
    """Fit a cache to a pipeline with its scheduler, by a few trajectories of its own.

    The pipeline is run through its own `__call__` and left as it is, whatever plan is in place.

    Args:
        pipe: a diffusers pipeline with a transformer, as `dit_accel.accelerate` takes it.
        num_inference_steps: of `pipe.scheduler`. More steps, most of them forecast, beat fewer
            dense ones: 25 to 32 of DPM-Solver++ or UniPC serve well.
        guidance_scale: that the plan will be used with; above 1 unconditional rows are left out
            too.
        speedup: MACs of the dense run divided by those of the plan, above 1.
        seeds: one a trajectory, at least one.
        conditions: arguments of the pipeline's call, with one entry a seed: `class_labels`,
            `prompt`, embeddings; also `height` and `width`. Classes are drawn if there are none.
        batch_size: trajectories at a time.
        exact: the rewrites of the plan.
        advance: told the name of each finished run; there are at most `runs_of_calibration`.

    Returns:
        A plan that holds its weights and what it was fitted to, and refuses other runs.
        `plan.save(folder)` writes it.

    Raises:
        DitAccelError: an argument is wrong, or no plan is as fast as that.
        UnsupportedError: the pipeline can't be calibrated on.
    """
    check_request(num_inference_steps, speedup)
    check_samples(seeds, batch_size)
    denoiser = Denoiser(pipe)
    drawn = conditions_for(pipe, seeds, conditions)
    trajectories = Trajectories(
        num_inference_steps, float(guidance_scale), tuple(seeds), drawn, batch_size
    )
    return _Calibrator(denoiser, trajectories, read_exact(exact), advance).best(speedup)


def runs_of_calibration(num_inference_steps: int, num_seeds: int, batch_size: int) -> int:
    """The most runs that `calibrate` reports."""
    batches = -(-num_seeds // batch_size)
    probes = len(probed_steps(num_inference_steps)) * min(PROBED_SAMPLES, num_seeds)
    return 1 + -(-probes // batch_size) + batches * (CANDIDATES + 3)


class _Calibrator:
    """One calibration."""

    def __init__(
        self,
        denoiser: Denoiser,
        trajectories: Trajectories,
        exact: ExactSetting,
        advance: Advance,
    ) -> None:
        self._denoiser, self._trajectories, self._exact = denoiser, trajectories, exact
        self._advance = advance
        self._num_steps = denoiser.num_steps(trajectories.num_inference_steps)
        transformer, scheduler = denoiser.transformer, denoiser.pipe.scheduler
        layers = len(denoiser.backbone.blocks(transformer))
        self._firsts = [first for first in FIRST_BLOCKS if first < layers] or [0]
        self._calibration = Calibration(
            model=model_hash(transformer),
            weights=sampled_weights(transformer),
            scheduler=type(scheduler).__name__,
            scheduler_config=scheduler_settings(scheduler),
            num_inference_steps=self._num_steps,
            guidance_scale=trajectories.guidance_scale,
            seeds=trajectories.seeds,
            versions=tuple(sorted((key, str(value)) for key, value in versions().items())),
        )

    def best(self, speedup: float) -> Plan:
        """The plan."""
        recording, dense = self._recorded(None)
        outcomes = [
            self._outcome(choice, recording, dense)
            for choice in self._choices(speedup, recording, dense)
        ]
        best = min(outcomes, key=lambda outcome: outcome.error)
        again, _ = self._recorded(best.plan)
        best = min(best, self._outcome(best.choice, again, dense), key=lambda each: each.error)
        return self._described(best)

    def _recorded(self, plan: Plan | None) -> tuple[Recording, torch.Tensor]:
        recording = Recording(self._num_steps, self._firsts)
        recorder = Recorder(self._denoiser, recording, plan)
        finals = []
        for batch in self._trajectories.batches:
            finals.append(recorder.record(batch))
            self._advance("trajectories")
        return recording, torch.cat(finals)

    def _choices(self, speedup: float, recording: Recording, dense: torch.Tensor) -> list[Choice]:
        workloads = self._workloads()
        probed = range(min(PROBED_SAMPLES, len(dense)))
        sensitivity = measured_sensitivity(
            self._denoiser, self._trajectories.some(probed), dense, self._num_steps, self._advance
        )
        costs = {first: workloads.step_costs(first) for first in self._firsts}
        return candidates(
            recording,
            sensitivity,
            costs,
            budgets={
                first: workloads.budget(speedup, self._num_steps, first) for first in self._firsts
            },
            guidance_scale=self._trajectories.guidance_scale,
            snapshots=SNAPSHOTS,
            count=CANDIDATES,
        )

    def _workloads(self) -> Workloads:
        size = self._denoiser.latent_size
        assert size is not None
        batch = min(self._trajectories.batch_size, len(self._trajectories.seeds))
        return Workloads(
            self._denoiser.transformer, batch, self._trajectories.guided, size, self._exact
        )

    def _outcome(self, choice: Choice, recording: Recording, dense: torch.Tensor) -> _Outcome:
        plan = calibrated_plan(
            choice,
            self._num_steps,
            partial(recording.fit_blocks, choice.first),
            recording.fit_guidance,
            self._exact,
            self._calibration,
        )
        first, *others = self._trajectories.batches
        seconds, latents = self._timed(first, plan)
        finals = torch.cat([latents, *(self._timed(batch, plan)[1] for batch in others)])
        error = torch.linalg.vector_norm((finals - dense).double())
        return _Outcome(
            choice, plan, float(error / torch.linalg.vector_norm(dense.double())), seconds
        )

    def _timed(self, batch: Trajectories, plan: Plan) -> tuple[float, torch.Tensor]:
        device = next(self._denoiser.transformer.parameters()).device
        seconds, latents = timed(lambda: self._denoiser.run(batch, plan), device)
        self._advance("candidates")
        return seconds, latents

    def _described(self, best: _Outcome) -> Plan:
        dense_seconds, _ = self._timed(self._trajectories.batches[0], Plan(exact=self._exact))
        expected = Expected(
            speedup_macs=round(self._workloads().speedup(best.plan, self._num_steps), 3),
            speedup=round(dense_seconds / best.seconds, 3),
            seconds=round(best.seconds, 4),
            batch_size=len(self._trajectories.batches[0].seeds),
            latent_error=float(f"{best.error:.4g}"),
        )
        calibration = self._calibration.model_copy(update={"expected": expected})
        return best.plan.model_copy(update={"calibration": calibration})


def check_request(num_inference_steps: int, speedup: float) -> None:
    """Refuse what no model can do.

    Raises:
        DitAccelError: naming the argument.
    """
    if num_inference_steps < 3:
        expected = "at least 3, so that there is something to forecast from"
        raise DitAccelError(
            "num_inference_steps: " + mismatch(num_inference_steps, expected, "take 25")
        )
    if not speedup > 1:
        expected, remedy = "a number above 1: dense MACs divided by the plan's", "ask for 2"
        raise DitAccelError("speedup: " + mismatch(speedup, expected, remedy))


def check_samples(seeds: Sequence[int], batch_size: int) -> None:
    """Refuse seeds that mean no samples, or some of them twice.

    Raises:
        DitAccelError: naming the argument.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        expected, remedy = "at least one seed and none twice", "pass range(8)"
        raise DitAccelError("seeds: " + mismatch(list(seeds), expected, remedy))
    if batch_size < 1:
        raise DitAccelError("batch_size: " + mismatch(batch_size, "at least 1", "pass 8"))
