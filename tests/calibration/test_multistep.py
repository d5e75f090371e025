"""Outputs made of several steps' outputs: fitted along the plan's own path."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from calibrated_plans import GUIDANCE, LABELS, SEEDS, fitted
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import FAMILIES

import dit_accel
from dit_accel import Plan
from dit_accel.calibration.closed_loop import ClosedLoop
from dit_accel.calibration.denoiser import Denoiser, Trajectories
from dit_accel.calibration.places import Budget, Places, best_places
from dit_accel.calibration.reference_path import converges, reference_path
from dit_accel.errors import DitAccelError, UnsupportedError
from dit_accel.phase_report import silent

STEPS = 8
SOLVERS = {
    "DDIM": DDIMScheduler(clip_sample=False, timestep_spacing="trailing"),
    "DPMSolver++": DPMSolverMultistepScheduler(timestep_spacing="trailing"),
    "UniPC": UniPCMultistepScheduler(timestep_spacing="trailing"),
}


def pipeline(solver: str) -> Any:
    return FAMILIES["dit"].pipeline(SOLVERS[solver])


def run(pipe: Any, steps: int = STEPS, plan: Plan | None = None) -> torch.Tensor:
    return Denoiser(pipe).run(Trajectories(steps, GUIDANCE, SEEDS, LABELS, 8), plan or Plan())


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_fitted_run_is_what_was_promised(solver: str, tmp_path: Path) -> None:
    pipe = pipeline(solver)
    plan = fitted(pipe, num_inference_steps=STEPS, speedup=1.85)
    assert plan.calibration is not None and plan.calibration.expected is not None
    assert [cache.site.method for cache in plan.cache] == ["guidance", "output"]
    assert plan.calibration.expected.speedup_macs >= 1.84
    converged = run(pipeline("UniPC"), 200)
    scale = converged.norm()
    found = float((run(pipe, plan=plan) - converged).norm() / scale)
    assert found == pytest.approx(plan.calibration.expected.latent_error, rel=0.1)
    assert found < float((run(pipe) - converged).norm() / scale)
    plan.save(tmp_path / "plan")
    assert Plan.load(tmp_path / "plan").fingerprint == plan.fingerprint


def test_the_dense_run_can_be_the_target() -> None:
    pipe = pipeline("DDIM")
    plan = fitted(pipe, num_inference_steps=STEPS, speedup=1.5, target="dense")
    dense = run(pipe)
    assert plan.calibration is not None and plan.calibration.expected is not None
    assert plan.calibration.target == "dense"
    found = float((run(pipe, plan=plan) - dense).norm() / dense.norm())
    assert found == pytest.approx(plan.calibration.expected.latent_error, rel=1e-2)


def test_without_guidance_steps_are_left_out() -> None:
    pipe = pipeline("UniPC")
    plan = fitted(pipe, num_inference_steps=STEPS, speedup=2, guidance_scale=1.0)
    (cache,) = plan.cache
    assert cache.site.method == "output" and len(cache.policy.compute) == 4
    dit_accel.accelerate(pipe, plan)
    FAMILIES["dit"].generate(pipe, SEEDS, steps=STEPS, guidance=1.0)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_path_is_that_of_many_steps(solver: str) -> None:
    trajectories = Trajectories(STEPS, GUIDANCE, SEEDS, LABELS, 8)
    path = reference_path(Denoiser(pipeline(solver)), trajectories, True, silent)
    assert len(path) == STEPS + 1
    exact = run(pipeline("UniPC"), 400)
    assert float((path[-1] - exact).norm() / exact.norm()) < 0.02
    dense = reference_path(Denoiser(pipeline(solver)), trajectories, False, silent)
    torch.testing.assert_close(dense[-1], run(pipeline(solver)))
    torch.testing.assert_close(dense[0], path[0])


def test_solvers_that_converge_to_nothing_known() -> None:
    assert all(converges(solver) for solver in SOLVERS.values())
    assert not converges(DDIMScheduler())  # it clips
    assert not converges(DPMSolverMultistepScheduler(use_karras_sigmas=True))
    assert not converges(DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++"))
    assert not converges(EulerDiscreteScheduler())  # its latents have another scale


def test_two_calls_a_step_are_refused() -> None:
    pipe = pipeline("DDIM")
    scale_model_input = pipe.scheduler.scale_model_input

    def calling(sample: torch.Tensor, *args: Any) -> torch.Tensor:
        rows = len(sample)
        pipe_of_the_fit.transformer(sample, torch.zeros(rows), torch.zeros(rows).long())
        scaled: torch.Tensor = scale_model_input(sample, *args)
        return scaled

    trajectories = Trajectories(STEPS, GUIDANCE, SEEDS, LABELS, 8)
    denoiser = Denoiser(pipe)
    pipe_of_the_fit = denoiser.pipe
    path = reference_path(denoiser, trajectories, False, silent)
    denoiser.pipe.scheduler.scale_model_input = calling
    with pytest.raises(UnsupportedError, match="second transformer call in step 0"):
        ClosedLoop(denoiser, trajectories, path).fit((0, 1), (0,))


@given(
    steps=st.integers(4, 50),
    speedup=st.floats(1.05, 8.0),
    half=st.floats(0.4, 0.6),
    guided=st.booleans(),
)
def test_all_choices_that_are_tried_keep_to_the_budget(
    steps: int, speedup: float, half: float, guided: bool
) -> None:
    budget = Budget(steps, steps / speedup, half, guided)
    tried: dict[Places, float] = {}

    def score(places: Places) -> float:
        tried[places] = float(sum(places.computed)) - len(places.guided)
        return tried[places]

    if not budget.splits():
        assert budget.dense_steps < 1 + half if guided else budget.dense_steps < 2
        return
    best = best_places(budget, score, lambda: len(tried) >= 40)
    assert tried[best] == min(tried.values()) and len(tried) < 42
    for computed, with_guidance in tried:
        assert computed[0] == 0 and computed[-1] < steps and set(with_guidance) <= set(computed)
        assert computed == tuple(sorted(set(computed))) and (with_guidance[:1] == (0,)) == guided
        cost = len(with_guidance) + half * (len(computed) - len(with_guidance))
        assert (cost if guided else len(computed)) <= 1.001 * budget.dense_steps + 1e-9


def test_no_choice_leaves_out_nothing_and_what_is_left_is_spent() -> None:
    assert (8, 8) not in Budget(8, 8 / 1.0001, 0.5, True).splits()
    best = best_places(
        Budget(8, 5.55, 0.5, True), lambda places: -float(sum(map(len, places))), lambda: False
    )
    assert len(best.computed) * 0.5 + len(best.guided) * 0.5 == 5.5


def test_a_run_that_only_its_last_step_spoils_has_diverged() -> None:
    denoiser = Denoiser(pipeline("DDIM"))
    trajectories = Trajectories(STEPS, GUIDANCE, SEEDS, LABELS, 2)
    path = reference_path(denoiser, trajectories, True, silent)
    spoiled = [*path[:-1], torch.full_like(path[-1], math.nan)]
    loop = ClosedLoop(denoiser, trajectories, spoiled)
    assert loop.fit((0, 2), (0,)).error == math.inf


def test_batches_of_the_transformer_change_nothing() -> None:
    denoiser = Denoiser(pipeline("UniPC"))
    found = []
    for batch_size in (1, 2):
        trajectories = Trajectories(STEPS, GUIDANCE, SEEDS, LABELS, batch_size)
        path = reference_path(denoiser, trajectories, True, silent)
        loop = ClosedLoop(denoiser, trajectories, path)
        found.append((loop.fit((0, 2, 5), (0, 5)).error, loop.forwards))
    assert found[0] == pytest.approx(found[1], rel=1e-3) and found[1][1] == 2.5


def test_places_and_the_split_into_them_are_improved_by_single_changes() -> None:
    aim = Places((0, 3, 5, 6, 7), (0, 5))
    tried: list[Places] = []

    def score(places: Places) -> float:
        tried.append(places)
        return float(sum(len(set(a) ^ set(b)) for a, b in zip(places, aim, strict=True)))

    assert best_places(Budget(8, 3.5, 0.5, True), score, lambda: len(tried) > 500) == aim
    assert len(tried) == len(set(tried))


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_run_that_goes_on_from_the_best_one_is_the_run_from_its_beginning(solver: str) -> None:
    denoiser = Denoiser(pipeline(solver))
    trajectories = Trajectories(STEPS, GUIDANCE, SEEDS, LABELS, 2)
    path = reference_path(denoiser, trajectories, True, silent)
    loop = ClosedLoop(denoiser, trajectories, path)
    loop.fit((0, 2, 4, 6), (0, 4))
    before = loop.forwards
    again = loop.fit((0, 2, 5, 6), (0, 5))
    assert loop.forwards - before == pytest.approx(1.5)  # steps 5 and 6 alone, one of them guided
    assert again == ClosedLoop(denoiser, trajectories, path).fit((0, 2, 5, 6), (0, 5))


def test_a_step_that_moves_nothing_keeps_plain_guidance() -> None:
    """Its timestep is the last of the training, and so is the noise level that it leads to."""
    own = DDIMScheduler(clip_sample=False, timestep_spacing="leading", set_alpha_to_one=False)
    plan = fitted(FAMILIES["dit"].pipeline(own), num_inference_steps=5, speedup=1.3)
    last = plan.cache[-1].predictor.table[-1]  # type: ignore[attr-defined]
    expected = [0.0] * len(last.low)
    expected[0], expected[len(last.conditional)] = 1.0, GUIDANCE - 1.0
    assert last.low == pytest.approx(expected, abs=1e-6)


def test_runs_that_do_not_stay_finite_are_refused() -> None:
    pipe = pipeline("DDIM")
    with torch.no_grad():
        pipe.transformer.proj_out_2.weight.mul_(float("nan"))
    with pytest.raises(DitAccelError, match="NaN or Inf"):
        fitted(pipe, num_inference_steps=4, speedup=1.3)


def test_the_search_tells_how_much_of_its_budget_is_spent() -> None:
    told: list[tuple[str, int, int]] = []
    fitted(
        pipeline("DDIM"),
        num_inference_steps=4,
        speedup=1.3,
        report=lambda *phase: told.append(phase),
    )
    assert told[0][0] == "trajectories"
    spent = [done for phase, done, _ in told if phase == "search"]
    assert spent == sorted(spent) and 0 <= spent[0] < spent[-1] <= 100
