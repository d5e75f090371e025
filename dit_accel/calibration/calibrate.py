"""`dit_accel.calibrate`: fit a plan to a model, its solver and its number of steps.

Where the solver's trajectories converge to something that can be had, each step's output is made of
those of several steps (`multistep`); for other solvers guidance differences and deep blocks are
forecast (`blocks`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from dit_accel.calibration.blocks import best_of_blocks
from dit_accel.calibration.conditions import conditions_for
from dit_accel.calibration.denoiser import Denoiser, Trajectories
from dit_accel.calibration.multistep import best_multistep
from dit_accel.calibration.reference_path import converges
from dit_accel.calibration.request import Request
from dit_accel.calibration_record import TARGETS, Target
from dit_accel.errors import DitAccelError, mismatch
from dit_accel.exact.config import ExactSetting, read_exact
from dit_accel.phase_report import Report, silent
from dit_accel.plan import Plan


def calibrate(
    pipe: Any,
    *,
    num_inference_steps: int,
    guidance_scale: float,
    speedup: float,
    target: Target = "converged",
    seeds: Sequence[int] = tuple(range(16)),
    conditions: Mapping[str, Any] | None = None,
    batch_size: int = 8,
    exact: bool | Mapping[str, bool] = True,
    report: Report = silent,
) -> Plan:
    """Fit a plan to a pipeline with its scheduler, by a few trajectories of its own.

    The pipeline is run through its own `__call__` and left as it is, whatever plan is in place.

    Args:
        pipe: a diffusers pipeline with a transformer, as `dit_accel.accelerate` takes it.
        num_inference_steps: of `pipe.scheduler`. Steps that are not computed cost next to nothing:
            20 to 50 serve well.
        guidance_scale: that the plan will be used with; above 1 unconditional rows are left out
            too.
        speedup: MACs of the dense run of as many steps divided by those of the plan, above 1.
        target: what the final latents come near to: those of the trajectory that the solver
            `converged` to, or of the `dense` run of as many steps. Solvers with noise, with noise
            levels of their own or with clipping have the latter alone.
        seeds: one a trajectory, at least one. With fewer than 16 the choice of steps fits these
            trajectories rather than others.
        conditions: arguments of the pipeline's call, with one entry a seed: `class_labels`,
            `prompt`, embeddings; also `height` and `width`. Classes are drawn if there are none.
        batch_size: trajectories at a time.
        exact: the rewrites of the plan.
        report: told what is under way, how much of it is done, and of how much.

    Returns:
        A plan that holds its numbers and what it was fitted to, and refuses other runs.
        `plan.save(folder)` writes it.

    Raises:
        DitAccelError: an argument is wrong, or no plan is as fast as that.
        UnsupportedError: the pipeline can't be calibrated on.
    """
    wanted = check_request(num_inference_steps, speedup, target)
    check_samples(seeds, batch_size)
    trajectories = Trajectories(
        num_inference_steps,
        float(guidance_scale),
        tuple(seeds),
        conditions_for(pipe, seeds, conditions),
        batch_size,
    )
    return calibration_of(pipe, trajectories, wanted, read_exact(exact), report)(speedup)


def calibration_of(
    pipe: Any,
    trajectories: Trajectories,
    target: Target,
    exact: ExactSetting,
    report: Report = silent,
) -> Callable[[float], Plan]:
    """What fits a plan for each speed-up; the target's trajectories are run once for all."""
    can_converge = converges(pipe.scheduler)
    reached: Target = target if can_converge else "dense"
    request = Request(Denoiser(pipe), trajectories, exact, reached, report)
    return partial(best_multistep if can_converge else best_of_blocks, request)


def check_request(num_inference_steps: int, speedup: float, target: str) -> Target:
    """Refuse what no model can do.

    Returns:
        The target.

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
    if target not in TARGETS:
        expected = "converged (the exact trajectory) or dense (the run of as many steps)"
        raise DitAccelError("target: " + mismatch(target, expected, "leave it out"))
    return cast("Target", target)


def check_samples(seeds: Sequence[int], batch_size: int) -> None:
    """Refuse seeds that mean no samples, or some of them twice.

    Raises:
        DitAccelError: naming the argument.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        expected, remedy = "at least one seed and none twice", "pass range(16)"
        raise DitAccelError("seeds: " + mismatch(list(seeds), expected, remedy))
    if batch_size < 1:
        raise DitAccelError("batch_size: " + mismatch(batch_size, "at least 1", "pass 8"))
