"""A sample is a function of the plan and its own seed: not of its batch-mates.

In float64, where a batch of n and n batches of one differ by rounding alone and no decision or
matching lies within rounding of another.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plans import PLANS
from tiny_models import FAMILIES, TinyFamily, calls_of, decisions

import dit_accel

STEPS = 10
DECIDING = {
    "dit": [0.1, 0.2, 0.5],
    "alpha": [0.3, 0.4],
    "sigma": [0.3, 0.5],
}
"""Thresholds at which the samples of a batch of three decide differently."""


def first_block(threshold: float, **fields: Any) -> dict[str, Any]:
    return {"cache": {"policy": {"kind": "first_block", "threshold": threshold}, **fields}}


def pipeline(family: TinyFamily, plan: dict[str, Any]) -> Any:
    return dit_accel.accelerate(family.pipeline(dtype=torch.float64), plan)


def assert_close(got: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("key", "guidance"), [("dit", 2.0), ("alpha", 2.0), ("alpha", 1.0)])
def test_a_batch_of_n_equals_n_batches_of_one(
    key: str, plan: dict[str, Any], guidance: float
) -> None:
    layout = FAMILIES[key]
    pipe = pipeline(layout, plan)
    batch = layout.generate(pipe, (1, 2, 3), guidance=guidance)
    alone = [layout.generate(pipe, (sample,), guidance=guidance) for sample in (1, 2, 3)]
    assert_close(batch, torch.cat(alone))


def test_decisions_of_a_batch_are_those_of_its_samples_alone(family: TinyFamily) -> None:
    differing = 0
    for threshold in DECIDING[family.name]:
        pipe = pipeline(family, first_block(threshold))
        batch = family.generate(pipe, (1, 2, 3), steps=STEPS)
        together = decisions(pipe)
        alone = []
        for index, sample in enumerate((1, 2, 3)):
            assert_close(family.generate(pipe, (sample,), steps=STEPS), batch[index : index + 1])
            alone.append([needed for (needed,) in decisions(pipe)])
        assert together == list(zip(*alone, strict=True))
        differing += sum(len(set(needed)) == 2 for needed in together)
    assert differing >= 3  # else this test would say little


def test_permuting_the_batch_permutes_results_and_decisions(family: TinyFamily) -> None:
    pipe = pipeline(
        family,
        first_block(
            DECIDING[family.name][-1], site="block", predictor={"kind": "polynomial", "order": 2}
        ),
    )
    batch = family.generate(pipe, (1, 2, 3), steps=STEPS)
    needed = decisions(pipe)
    order = (2, 0, 1)
    permuted = family.generate(pipe, tuple((1, 2, 3)[i] for i in order), steps=STEPS)
    assert_close(permuted, batch[list(order)])
    assert decisions(pipe) == [tuple(step[i] for i in order) for step in needed]
    assert any(len(set(step)) == 2 for step in needed)


@pytest.mark.parametrize("scale", [1e3, 1e30])
def test_an_adversarial_batch_mate_changes_nothing(
    layout: TinyFamily, remembering_plan: dict[str, Any], scale: float
) -> None:
    """A sample with huge activations, which move any statistic over the batch."""
    transformer = dit_accel.accelerate(layout.transformer(dtype=torch.float64), remembering_plan)
    timesteps = range(900, 0, -100)

    def outputs(mate_scale: float) -> tuple[list[torch.Tensor], list[bool]]:
        generator = torch.Generator().manual_seed(3)
        found = []
        condition = layout.condition((1, 2), torch.float64)
        latents = torch.randn(2, 4, 8, 8, generator=generator, dtype=torch.float64)
        with torch.no_grad(), dit_accel.run(transformer, len(timesteps), guidance=False):
            for timestep in timesteps:
                moved = torch.randn(2, 4, 8, 8, generator=generator, dtype=torch.float64)
                latents = latents + 0.1 * moved
                scale_of = torch.tensor([1.0, mate_scale], dtype=torch.float64)[:, None, None, None]
                out = layout.predict(transformer, latents * scale_of, timestep, condition)
                found.append(out[0])
        needed = [needed[0] for needed in decisions(transformer) if needed]
        return found, needed

    quiet, quiet_needed = outputs(1.0)
    loud, loud_needed = outputs(scale)
    assert quiet_needed == loud_needed
    for got, expected in zip(loud, quiet, strict=True):
        assert_close(got, expected)


def test_a_batch_mate_that_is_not_finite_spoils_itself_alone(layout: TinyFamily) -> None:
    transformer = dit_accel.accelerate(layout.transformer(), PLANS["first_block"])
    condition = layout.condition((1, 2), torch.float32)
    latents = torch.randn(2, 4, 8, 8)
    latents[1, 0, 0, 0] = torch.nan
    with torch.no_grad(), dit_accel.run(transformer, 5, guidance=False):
        for timestep in (500, 500, 500, 480, 460):
            out = layout.predict(transformer, latents, timestep, condition)
            assert out[0].isfinite().all()
    assert [needed[1] for needed in decisions(transformer)] == [True] * 5
    assert not all(needed[0] for needed in decisions(transformer))


@pytest.mark.parametrize(
    ("moving", "capacity"), [(1, 2), (2, 2), (3, 4), (4, 4), (5, 8), (8, 8), (0, 0)]
)
def test_rows_are_padded_to_a_quarter_a_half_or_all(
    layout: TinyFamily, moving: int, capacity: int
) -> None:
    """Eight samples of which some move: every one is right, whatever the padding."""
    plan = first_block(0.2, predictor="reuse")
    transformer = dit_accel.accelerate(layout.transformer(dtype=torch.float64), plan)
    stock = layout.transformer(dtype=torch.float64)
    samples = tuple(range(8))
    condition = layout.condition(samples, torch.float64)
    latents = torch.randn(8, 4, 8, 8, dtype=torch.float64)
    moved = latents.clone()
    rows = [7, 1, 4, 0, 6, 2, 3, 5][:moving]
    moved[rows] = torch.randn(len(rows), 4, 8, 8, dtype=torch.float64)
    with torch.no_grad(), dit_accel.run(transformer, 2, guidance=False):
        layout.predict(transformer, latents, 500, condition)
        got = layout.predict(transformer, moved, 500, condition)
        # A sample that did not move forecasts what it was: both are dense outputs.
        assert_close(got, layout.predict(stock, moved, 500, condition))
    last = calls_of(transformer)[-1].sites[0]
    assert last.computed_rows == capacity
    assert [row for row, needed in enumerate(last.needed) if needed] == sorted(rows)


def test_equal_seeds_with_two_prompts_decide_for_themselves_without_guidance(
    layout: TinyFamily,
) -> None:
    """Equal latents in both halves of a batch are no proof of guidance."""
    pipe = pipeline(layout, PLANS["first_block"])
    dtype = torch.float64

    def loop(labels: tuple[int, ...]) -> torch.Tensor:
        scheduler = pipe.scheduler
        scheduler.set_timesteps(STEPS)
        latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)).to(dtype)
        latents = latents.repeat(len(labels), 1, 1, 1)
        condition = layout.condition(labels, dtype)
        with torch.no_grad():
            for timestep in scheduler.timesteps:
                out = layout.predict(pipe.transformer, latents, timestep, condition)
                latents = scheduler.step(out, timestep, latents).prev_sample
        return latents

    batch = loop((1, 2))
    # Who is a sample is known once the scheduler has stepped; the first step computes all anyway.
    assert {len(needed) for needed in decisions(pipe)[1:]} == {2}
    assert_close(batch, torch.cat([loop((1,)), loop((2,))]))
