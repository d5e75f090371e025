"""A loop over the bare transformer, announced or not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plans import PLANS
from tiny_models import TinyFamily, calls_of, ddim, modes

import dit_accel
from dit_accel.install import installation_of

INTERVAL = PLANS["interval_reuse"]


def call(family: TinyFamily, transformer: Any, timestep: float, rows: int = 2) -> None:
    condition = family.condition(tuple(range(1, rows + 1)), torch.float32)
    with torch.no_grad():
        family.predict(transformer, torch.randn(rows, 4, 8, 8), timestep, condition)


def test_statistics_of_a_bare_run_say_what_was_done_in_each_call(layout: TinyFamily) -> None:
    transformer = dit_accel.accelerate(layout.transformer(), INTERVAL)
    with dit_accel.run(transformer, timesteps=5):
        layout.denoise(transformer, steps=5)
    assert modes(transformer) == ["all", "none", "all", "none", "all"]
    assert [one.sites[0].computed_rows for one in calls_of(transformer)] == [6, 0, 6, 0, 6]


def test_a_loop_that_announces_nothing_is_placed_by_its_timesteps(layout: TinyFamily) -> None:
    transformer = dit_accel.accelerate(layout.transformer(), INTERVAL)
    for timestep in (900, 600, 300, 0):
        call(layout, transformer, timestep)
    positions = [one.position for one in calls_of(transformer)]
    assert [position.step for position in positions] == [0, 1, 2, 3]
    assert {position.num_steps for position in positions} == {None}
    assert [position.fraction for position in positions] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert modes(transformer) == ["all", "none", "all", "none"]


def test_equal_timesteps_are_guidance_calls_of_one_step(layout: TinyFamily) -> None:
    transformer = dit_accel.accelerate(layout.transformer(), INTERVAL)
    for timestep in (900, 900, 600, 600):
        call(layout, transformer, timestep)
    places = [(one.position.step, one.position.branch) for one in calls_of(transformer)]
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert modes(transformer) == ["all", "all", "none", "none"]


def test_a_rising_timestep_begins_a_new_run(layout: TinyFamily) -> None:
    transformer = dit_accel.accelerate(layout.transformer(), INTERVAL)
    for timestep in (900, 600, 700):
        call(layout, transformer, timestep)
    assert [one.position.step for one in calls_of(transformer)] == [0]
    assert modes(transformer) == ["all"]


def test_another_shape_begins_a_new_run(layout: TinyFamily) -> None:
    transformer = dit_accel.accelerate(layout.transformer(), INTERVAL)
    call(layout, transformer, 900)
    call(layout, transformer, 800, rows=3)
    assert [one.position.step for one in calls_of(transformer)] == [0]
    call(layout, transformer, 700, rows=3)
    assert modes(transformer) == ["all", "none"]


def test_another_dtype_begins_a_new_run(layout: TinyFamily) -> None:
    transformer = dit_accel.accelerate(layout.transformer(), INTERVAL)
    call(layout, transformer, 900)
    torch.nn.Module.to(transformer, torch.bfloat16)
    condition = layout.condition((1, 2), torch.bfloat16)
    with torch.no_grad():
        latents = torch.randn(2, 4, 8, 8, dtype=torch.bfloat16)
        assert layout.predict(transformer, latents, 800, condition).dtype == torch.bfloat16
    assert modes(transformer) == ["all"]


def test_a_second_unannounced_loop_equals_a_fresh_one(
    layout: TinyFamily, remembering_plan: dict[str, Any]
) -> None:
    transformer = dit_accel.accelerate(layout.transformer(), remembering_plan)
    first = layout.denoise(transformer)
    layout.denoise(transformer, (4, 5, 6))
    assert torch.equal(layout.denoise(transformer), first)


def test_an_unannounced_loop_equals_an_announced_one_but_for_the_last_step(
    layout: TinyFamily,
) -> None:
    """Without a length nobody knows which step is the last."""
    transformer = dit_accel.accelerate(layout.transformer(), INTERVAL)
    unannounced = list(layout.steps_of(transformer, steps=6))
    with dit_accel.run(transformer, timesteps=6):
        announced = list(layout.steps_of(transformer, steps=6))
    assert all(map(torch.equal, unannounced[:5], announced[:5]))
    assert not torch.equal(unannounced[5], announced[5])


@pytest.mark.parametrize("positional", [True, False])
def test_arguments_by_position_and_by_name_are_the_same(
    layout: TinyFamily, telling_plan: dict[str, Any], positional: bool
) -> None:
    transformer = dit_accel.accelerate(layout.transformer(), telling_plan)
    condition = layout.condition((1, 2), torch.float32)
    latents, timestep = torch.randn(2, 4, 8, 8), torch.full((2,), 500.0)

    def go() -> torch.Tensor:
        if not positional:
            named = {"hidden_states": latents, "timestep": timestep, **condition}
            return transformer(**named).sample
        if layout.name == "dit":
            return transformer(latents, timestep, condition["class_labels"]).sample
        order = ("encoder_hidden_states", None, "added_cond_kwargs")
        values = [condition[order[0]], timestep, condition[order[2]], None, None]
        return transformer(latents, *values, condition["encoder_attention_mask"]).sample

    with torch.no_grad(), dit_accel.run(transformer, timesteps=1):
        got = go()
    with torch.no_grad(), dit_accel.run(transformer, timesteps=1):
        expected = transformer(latents, timestep=timestep, **condition).sample
    assert torch.equal(got, expected)


def test_the_run_of_a_pipeline_may_be_announced_too(layout: TinyFamily) -> None:
    pipe = dit_accel.accelerate(layout.pipeline(), INTERVAL)
    scheduler = ddim()
    scheduler.set_timesteps(4)
    with dit_accel.run(pipe, timesteps=scheduler.timesteps):
        layout.denoise(pipe.transformer, steps=4, scheduler=scheduler)
    assert modes(pipe) == ["all", "none", "all", "all"]
    installation = installation_of(pipe)
    assert installation is not None and installation.nbytes == 0


def test_rows_that_disappear_in_mid_run_take_their_history_with_them(layout: TinyFamily) -> None:
    """Guidance that is switched off half-way: the rows that stay are computed anew."""
    transformer = dit_accel.accelerate(layout.transformer(), PLANS["interval_polynomial"])
    with dit_accel.run(transformer, timesteps=8):
        for index in range(8):
            call(layout, transformer, 900 - 100 * index, rows=4 if index < 3 else 2)
    assert modes(transformer)[:5] == ["all", "none", "all", "all", "none"]
    assert [one.rows for one in calls_of(transformer)] == [4] * 3 + [2] * 5
