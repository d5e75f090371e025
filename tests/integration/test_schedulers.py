"""Any scheduler the pipeline takes: runs begin and steps are counted where the solver says."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch
from plans import PLANS
from tiny_models import TinyFamily, calls_of, ddim, modes

import dit_accel

SCHEDULERS = {
    "DDIM": {"clip_sample": False},
    "DDPM": {"clip_sample": False},
    "DPMSolverMultistep": {},
    "EulerDiscrete": {},
    "UniPCMultistep": {},
    "HeunDiscrete": {},
}


def scheduler_of(name: str) -> Any:
    return getattr(diffusers, f"{name}Scheduler")(**SCHEDULERS[name])


def run_seeded(family: TinyFamily, pipe: Any, steps: int = 6) -> torch.Tensor:
    torch.manual_seed(1)
    return family.generate(pipe, (1, 2), steps=steps)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_evaluation_of_a_solver_is_one_step(layout: TinyFamily, name: str) -> None:
    pipe = layout.pipeline(scheduler_of(name))
    stock = run_seeded(layout, pipe)
    dit_accel.accelerate(pipe, PLANS["interval_reuse"])
    latents = run_seeded(layout, pipe)
    count = len(pipe.scheduler.timesteps)
    assert count == (11 if name == "HeunDiscrete" else 6)
    positions = [call.position for call in calls_of(pipe)]
    assert [position.step for position in positions] == list(range(count))
    assert {(position.num_steps, position.branch) for position in positions} == {(count, 0)}
    assert modes(pipe)[:-1] == (["all", "none"] * count)[: count - 1]
    assert modes(pipe)[-1] == "all"
    assert latents.isfinite().all() and not torch.equal(latents, stock)
    assert torch.equal(run_seeded(layout, pipe), latents)
    dit_accel.restore(pipe)
    assert torch.equal(run_seeded(layout, pipe), stock)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_neutral_plans_are_dense_under_every_solver(layout: TinyFamily, name: str) -> None:
    pipe = layout.pipeline(scheduler_of(name))
    stock = run_seeded(layout, pipe)
    dit_accel.accelerate(pipe, {"cache": {"policy": {"kind": "first_block", "threshold": 0}}})
    assert torch.equal(run_seeded(layout, pipe), stock)


@pytest.mark.parametrize("name", ["UniPCMultistep", "HeunDiscrete"])
def test_a_scheduler_swapped_after_accelerate_is_followed(layout: TinyFamily, name: str) -> None:
    reference = layout.pipeline(scheduler_of(name))
    expected = run_seeded(layout, dit_accel.accelerate(reference, PLANS["interval_reuse"]))
    pipe = dit_accel.accelerate(layout.pipeline(), PLANS["interval_reuse"])
    former = pipe.scheduler
    run_seeded(layout, pipe)
    pipe.scheduler = scheduler_of(name)
    for _ in range(2):
        assert torch.equal(run_seeded(layout, pipe), expected)
        assert modes(pipe) == modes(reference)
    assert not {"step", "set_timesteps"} & vars(former).keys()
    dit_accel.restore(pipe)
    assert not {"step", "set_timesteps"} & vars(pipe.scheduler).keys()


def test_from_config_of_an_observed_scheduler_is_an_ordinary_one(layout: TinyFamily) -> None:
    pipe = dit_accel.accelerate(layout.pipeline(), PLANS["interval_reuse"])
    pipe.scheduler = diffusers.UniPCMultistepScheduler.from_config(pipe.scheduler.config)
    run_seeded(layout, pipe, steps=4)
    assert modes(pipe) == ["all", "none", "all", "all"]


def test_custom_timesteps_are_counted(pixart: Any) -> None:
    pipe = pixart.pipeline(diffusers.DDPMScheduler(clip_sample=False))
    dit_accel.accelerate(pipe, PLANS["interval_reuse"])
    pixart.generate(pipe, timesteps=[900, 500, 300, 100], steps=None)
    assert modes(pipe) == ["all", "none", "all", "all"]


def test_the_signatures_that_pipelines_look_at_are_kept(layout: TinyFamily) -> None:
    import inspect

    pipe = layout.pipeline()
    before = [inspect.signature(getattr(pipe.scheduler, m)) for m in ("step", "set_timesteps")]
    dit_accel.accelerate(pipe, PLANS["interval_reuse"])
    after = [inspect.signature(getattr(pipe.scheduler, m)) for m in ("step", "set_timesteps")]
    assert before == after


def test_timesteps_set_twice_begin_one_run(layout: TinyFamily) -> None:
    pipe = dit_accel.accelerate(layout.pipeline(), PLANS["interval_reuse"])
    pipe.scheduler.set_timesteps(9)
    layout.denoise(pipe.transformer, steps=4, scheduler=pipe.scheduler)
    assert modes(pipe) == ["all", "none", "all", "all"]


def test_a_loop_with_a_scheduler_of_its_own_is_placed_by_its_timesteps(
    layout: TinyFamily,
) -> None:
    pipe = dit_accel.accelerate(layout.pipeline(), PLANS["interval_reuse"])
    run_seeded(layout, pipe)
    for _ in range(2):
        layout.denoise(pipe.transformer, steps=4, scheduler=ddim())
        assert modes(pipe) == ["all", "none", "all", "none"]
