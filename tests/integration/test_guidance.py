"""Separate, batched and no guidance: calls are counted right, and the rows of a sample agree."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plans import PLANS
from tiny_models import TinyFamily, calls_of, ddim, decisions, modes

import dit_accel
from dit_accel.errors import RunError
from dit_accel.install import installation_of

CALLS = {"batched": 1, "separate": 2, "none": 1}


@pytest.mark.parametrize("guidance", CALLS)
def test_an_announced_loop_counts_its_guidance_calls(
    layout: TinyFamily, telling_plan: dict[str, Any], guidance: str
) -> None:
    transformer = dit_accel.accelerate(layout.transformer(), telling_plan)
    with dit_accel.run(transformer, timesteps=5, calls_per_step=CALLS[guidance]):
        layout.denoise(transformer, steps=5, guidance=guidance)
    positions = [call.position for call in calls_of(transformer)]
    expected = [(step, branch) for step in range(5) for branch in range(CALLS[guidance])]
    assert [(position.step, position.branch) for position in positions] == expected
    assert {position.num_steps for position in positions} == {5}
    assert positions[0].fraction == 0 and positions[-1].fraction == 1


@pytest.mark.parametrize("guidance", CALLS)
def test_an_observed_scheduler_counts_as_an_announced_loop_does(
    layout: TinyFamily, remembering_plan: dict[str, Any], guidance: str
) -> None:
    announced = dit_accel.accelerate(layout.transformer(), remembering_plan)
    with dit_accel.run(announced, timesteps=6, calls_per_step=CALLS[guidance]):
        expected = layout.denoise(announced, guidance=guidance)
    pipe = dit_accel.accelerate(layout.pipeline(), remembering_plan)
    observed = layout.denoise(pipe.transformer, guidance=guidance, scheduler=pipe.scheduler)
    assert torch.equal(observed, expected)


@pytest.mark.parametrize(
    "name", ["interval_polynomial", "interval_block", "pooled", "kv_downsample"]
)
def test_separate_guidance_equals_batched_guidance(layout: TinyFamily, name: str) -> None:
    transformer = dit_accel.accelerate(layout.transformer(dtype=torch.float64), PLANS[name])
    with dit_accel.run(transformer, timesteps=6, calls_per_step=2):
        separate = layout.denoise(transformer, guidance="separate")
    with dit_accel.run(transformer, timesteps=6):
        batched = layout.denoise(transformer, guidance="batched")
    torch.testing.assert_close(separate, batched, rtol=1e-9, atol=1e-9)


def test_the_two_calls_of_separate_guidance_have_histories_of_their_own(
    layout: TinyFamily,
) -> None:
    """One history for both would forecast the second call from the first."""
    transformer = dit_accel.accelerate(layout.transformer(), PLANS["interval_reuse"])
    latents = torch.randn(2, 4, 8, 8)
    condition, null = layout.condition((1, 2), torch.float32), layout.null(2, torch.float32)
    with torch.no_grad(), dit_accel.run(transformer, timesteps=4, calls_per_step=2):
        computed = [layout.predict(transformer, latents, 700, rows) for rows in (condition, null)]
        # The same timestep and latents: reuse gives back what each call computed.
        again = [layout.predict(transformer, latents, 700, rows) for rows in (condition, null)]
    assert modes(transformer) == ["all", "all", "none", "none"]
    for got, expected in zip(again, computed, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(computed[0], computed[1], atol=1e-2)


def test_separate_guidance_calls_follow_the_decision_of_the_first(layout: TinyFamily) -> None:
    transformer = dit_accel.accelerate(layout.transformer(), PLANS["first_block"])
    with dit_accel.run(transformer, timesteps=10, calls_per_step=2):
        layout.denoise(transformer, steps=10, guidance="separate")
    needed = decisions(transformer)
    assert needed[0::2] == needed[1::2]
    assert any(not all(samples) for samples in needed)


def test_batched_guidance_is_recognised_and_decides_by_sample(layout: TinyFamily) -> None:
    transformer = dit_accel.accelerate(layout.transformer(), PLANS["first_block"])
    with dit_accel.run(transformer, timesteps=6):
        layout.denoise(transformer, guidance="batched")
    assert {len(samples) for samples in decisions(transformer)} == {3}
    with dit_accel.run(transformer, timesteps=6):
        layout.denoise(transformer, guidance="none")
    assert {len(samples) for samples in decisions(transformer)} == {3}
    assert {call.rows for call in calls_of(transformer)} == {3}


@pytest.mark.parametrize(("guidance", "samples"), [(True, 2), (False, 4)])
def test_a_loop_may_say_whether_it_is_guided(
    layout: TinyFamily, guidance: bool, samples: int
) -> None:
    transformer = dit_accel.accelerate(layout.transformer(), PLANS["first_block"])
    with torch.no_grad(), dit_accel.run(transformer, timesteps=2, guidance=guidance):
        for timestep in (800, 400):
            rows = layout.guided_condition((1, 2), torch.float32)
            layout.predict(transformer, torch.randn(4, 4, 8, 8), timestep, rows)
    assert {len(needed) for needed in decisions(transformer)} == {samples}


def test_the_larger_change_of_the_guidance_rows_counts(layout: TinyFamily) -> None:
    """A sample whose one row changes much is computed, both of its rows."""
    plan = {"cache": {"predictor": "reuse", "policy": {"kind": "first_block", "threshold": 0.2}}}
    transformer = dit_accel.accelerate(layout.transformer(), plan)
    rows = layout.guided_condition((1, 2), torch.float32)
    latents = torch.randn(2, 4, 8, 8).repeat(2, 1, 1, 1)
    moved = latents.clone()
    moved[1] = torch.randn(4, 8, 8)  # the first guidance row of the second sample
    with torch.no_grad(), dit_accel.run(transformer, timesteps=3, guidance=True):
        for x in (latents, moved, latents):
            layout.predict(transformer, x, 500, rows)
    assert decisions(transformer) == [(True, True), (False, True), (False, True)]
    assert [call.sites[0].computed_rows for call in calls_of(transformer)] == [4, 2, 2]


def test_a_call_beyond_the_announced_run_is_refused_with_the_remedy(layout: TinyFamily) -> None:
    transformer = dit_accel.accelerate(layout.transformer(), PLANS["interval_reuse"])
    with (
        pytest.raises(RunError, match="calls_per_step=2"),
        dit_accel.run(transformer, timesteps=3),
    ):
        layout.denoise(transformer, steps=3, guidance="separate")
    installation = installation_of(transformer)
    assert installation is not None and installation.nbytes == 0


@pytest.mark.parametrize("timesteps", [0, []])
def test_a_run_without_steps_is_refused(layout: TinyFamily, timesteps: Any) -> None:
    transformer = dit_accel.accelerate(layout.transformer(), PLANS["interval_reuse"])
    with pytest.raises(RunError, match="at least one step"), dit_accel.run(transformer, timesteps):
        pass


def test_a_run_of_a_transformer_without_a_plan_does_nothing(layout: TinyFamily) -> None:
    transformer = layout.transformer()
    expected = layout.denoise(transformer, steps=3)
    scheduler = ddim()
    scheduler.set_timesteps(3)
    with dit_accel.run(transformer, timesteps=scheduler.timesteps):
        assert torch.equal(layout.denoise(transformer, steps=3), expected)
