"""Plans that ask for nothing change nothing, bit for bit; plans that ask for something do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plans import PLANS
from tiny_models import TinyFamily, calls_of

import dit_accel
from dit_accel.install import installation_of


@pytest.mark.parametrize("empty", [{}, dit_accel.Plan(), {"seed": 3}, {"exact": False}])
def test_empty_plan_installs_nothing_and_is_stock_bit_for_bit(
    family: TinyFamily, empty: Any
) -> None:
    pipe = family.pipeline()
    stock = family.generate(pipe)
    attributes = [set(vars(module)) for module in pipe.transformer.modules()]
    scheduler = set(vars(pipe.scheduler))
    assert dit_accel.accelerate(pipe, empty) is pipe
    assert installation_of(pipe) is None
    assert [set(vars(module)) for module in pipe.transformer.modules()] == attributes
    assert set(vars(pipe.scheduler)) == scheduler
    assert torch.equal(family.generate(pipe), stock)


def test_neutral_parameters_are_dense_bit_for_bit(
    family: TinyFamily, neutral_plan: dict[str, Any]
) -> None:
    pipe = family.pipeline()
    stock = family.generate(pipe)
    dit_accel.accelerate(pipe, neutral_plan)
    assert torch.equal(family.generate(pipe), stock)
    assert all(call.rows == 6 for call in calls_of(pipe))
    assert all(site.mode == "all" for call in calls_of(pipe) for site in call.sites)


def test_neutral_parameters_are_dense_without_guidance(
    layout: TinyFamily, neutral_plan: dict[str, Any]
) -> None:
    pipe = layout.pipeline()
    stock = layout.generate(pipe, guidance=1.0)
    dit_accel.accelerate(pipe, neutral_plan)
    assert torch.equal(layout.generate(pipe, guidance=1.0), stock)


def test_every_plan_changes_the_picture_and_is_reproducible(
    family: TinyFamily, plan: dict[str, Any]
) -> None:
    pipe = family.pipeline()
    stock = family.generate(pipe)
    dit_accel.accelerate(pipe, plan)
    accelerated = family.generate(pipe)
    assert not torch.equal(accelerated, stock)
    assert accelerated.isfinite().all()
    assert torch.equal(family.generate(pipe), accelerated)


def test_plans_given_as_mapping_yaml_file_or_plan_are_the_same(
    layout: TinyFamily, tmp_path: Any
) -> None:
    plan = PLANS["combined"]
    loaded = dit_accel.Plan.load(plan)
    path = tmp_path / "plan.yaml"
    path.write_text(loaded.to_yaml())
    results = [
        layout.generate(dit_accel.accelerate(layout.pipeline(), source), steps=4)
        for source in (plan, loaded, path, str(path))
    ]
    assert all(torch.equal(result, results[0]) for result in results[1:])


def test_the_seed_of_a_plan_moves_merge_destinations_alone(family: TinyFamily) -> None:
    merge = {"merge": {"kind": "tome2d", "ratio": 0.5}}
    pipe = family.pipeline()

    def generate(plan: dict[str, Any]) -> torch.Tensor:
        return family.generate(dit_accel.accelerate(pipe, plan), steps=3)

    assert not torch.equal(generate(merge), generate({**merge, "seed": 1}))
    pooled = {"density": {"kind": "pooled", "pool": 2}}
    assert torch.equal(generate(pooled), generate({**pooled, "seed": 1}))


def test_the_global_random_state_is_left_alone(
    layout: TinyFamily, remembering_plan: dict[str, Any]
) -> None:
    transformer = dit_accel.accelerate(layout.transformer(), remembering_plan)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    layout.denoise(transformer, steps=3)
    assert torch.equal(torch.rand(3), expected)
