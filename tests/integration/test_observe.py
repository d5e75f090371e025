"""Hearing a scheduler set its timesteps and step, without getting in anybody's way."""

from __future__ import annotations

import copy
import gc
import inspect
import weakref
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, HeunDiscreteScheduler

from dit_accel.integration.observe import SchedulerObserver


class Listener:
    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.observer = SchedulerObserver(self.heard.append, self.step)

    def step(self, rows: int | None) -> None:
        self.heard.append(f"step of {rows}")


@pytest.fixture
def scheduler() -> DDIMScheduler:
    return DDIMScheduler()


def take_step(scheduler: Any) -> torch.Tensor:
    latents = torch.ones(3, 1, 2, 2)
    return scheduler.step(latents, scheduler.timesteps[0], latents).prev_sample


def test_timesteps_and_steps_are_heard_after_they_were_taken(scheduler: DDIMScheduler) -> None:
    listener = Listener()
    listener.observer.observe(scheduler)
    scheduler.set_timesteps(7)
    take_step(scheduler)
    assert listener.heard == [7, "step of 3"]


def test_the_rows_of_a_sample_given_by_name_are_heard_too(scheduler: DDIMScheduler) -> None:
    listener = Listener()
    listener.observer.observe(scheduler)
    scheduler.set_timesteps(7)
    latents = torch.ones(2, 1, 2, 2)
    scheduler.step(model_output=latents, timestep=scheduler.timesteps[0], sample=latents)
    assert listener.heard == [7, "step of 2"]


def test_evaluations_are_counted_not_steps() -> None:
    listener = Listener()
    heun = HeunDiscreteScheduler()
    listener.observer.observe(heun)
    heun.set_timesteps(4)
    assert listener.heard == [7]


def test_results_and_signatures_are_those_of_the_scheduler(scheduler: DDIMScheduler) -> None:
    plain = DDIMScheduler()
    Listener().observer.observe(scheduler)
    for one in (plain, scheduler):
        one.set_timesteps(5)
    assert torch.equal(take_step(scheduler), take_step(plain))
    for method in ("step", "set_timesteps"):
        assert inspect.signature(getattr(scheduler, method)) == inspect.signature(
            getattr(plain, method)
        )


def test_stopping_leaves_the_instance_as_it_was(scheduler: DDIMScheduler) -> None:
    before = dict(vars(scheduler))
    listener = Listener()
    listener.observer.observe(scheduler)
    listener.observer.stop()
    listener.observer.stop()
    assert vars(scheduler) == before


def test_moving_on_lets_go_of_the_former_one(scheduler: DDIMScheduler) -> None:
    listener, other = Listener(), EulerDiscreteScheduler()
    listener.observer.observe(scheduler)
    listener.observer.observe(other)
    assert "step" not in vars(scheduler)
    scheduler.set_timesteps(3)
    other.set_timesteps(4)
    assert listener.heard == [4]


@pytest.mark.parametrize("first", [0, 1])
def test_two_listeners_leave_in_any_order(scheduler: DDIMScheduler, first: int) -> None:
    before = dict(vars(scheduler))
    listeners = [Listener(), Listener()]
    for listener in listeners:
        listener.observer.observe(scheduler)
    take = scheduler.set_timesteps
    take(3)
    listeners[first].observer.stop()
    scheduler.set_timesteps(4)
    assert listeners[first].heard == [3]
    assert listeners[1 - first].heard == [3, 4]
    listeners[1 - first].observer.stop()
    assert vars(scheduler).keys() - before.keys() <= {"num_inference_steps", "timesteps"}
    assert "step" not in vars(scheduler) and "set_timesteps" not in vars(scheduler)


def test_a_function_that_somebody_put_there_is_called_and_comes_back(
    scheduler: DDIMScheduler,
) -> None:
    calls: list[int] = []

    def theirs(steps: int) -> None:
        calls.append(steps)
        DDIMScheduler.set_timesteps(scheduler, steps)

    scheduler.set_timesteps = theirs
    listener = Listener()
    listener.observer.observe(scheduler)
    scheduler.set_timesteps(6)
    assert calls == listener.heard == [6]
    listener.observer.stop()
    assert scheduler.set_timesteps is theirs


def test_a_function_that_somebody_put_over_ours_stays(scheduler: DDIMScheduler) -> None:
    listener = Listener()
    listener.observer.observe(scheduler)
    ours = scheduler.set_timesteps

    def theirs(steps: int) -> None:
        ours(steps)

    scheduler.set_timesteps = theirs
    scheduler.set_timesteps(6)
    listener.observer.stop()
    scheduler.set_timesteps(7)
    assert scheduler.set_timesteps is theirs
    assert listener.heard == [6]


def test_a_deep_copy_acts_on_itself_and_is_not_heard(scheduler: DDIMScheduler) -> None:
    listener = Listener()
    listener.observer.observe(scheduler)
    scheduler.set_timesteps(4)
    copied = copy.deepcopy(scheduler)
    copied.set_timesteps(9)
    assert listener.heard == [4]
    assert (len(scheduler.timesteps), len(copied.timesteps)) == (4, 9)


def test_a_scheduler_does_not_keep_its_listener_alive(scheduler: DDIMScheduler) -> None:
    listener = Listener()
    listener.observer.observe(scheduler)
    gone = weakref.ref(listener)
    del listener
    gc.collect()
    assert gone() is None
    scheduler.set_timesteps(4)
    assert take_step(scheduler).isfinite().all()
