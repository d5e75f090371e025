"""MACs of whole runs: against formulas, and against counting every step of a real run."""

from typing import Any

import pytest
import torch
from judging import JUDGING
from plans import PLANS, STATIC
from tiny_models import FAMILIES, SIDE, TEXT_LENGTH, TinyFamily, every_family

import dit_accel
from dit_accel import Plan, PlanError
from dit_accel.measure.architectures import Architecture, load_architecture
from dit_accel.measure.inputs import forward_inputs
from dit_accel.measure.macs import count_macs
from dit_accel.measure.plan_macs import Workload, run_cost

STEPS, BATCH = 6, 2
SIZE = (SIDE, SIDE)
WORKLOAD = Workload(STEPS, BATCH, latent_size=SIZE, text_tokens=TEXT_LENGTH)


def tiny_architecture(transformer: Any) -> Architecture:
    return Architecture("tiny", type(transformer), dict(transformer.config))


def real_run_macs(transformer: Any, plan: Plan, guidance: bool = True) -> int:
    """Every step of a run with real numbers, counted."""
    inputs = forward_inputs(transformer, WORKLOAD.rows, SIZE, TEXT_LENGTH)
    dit_accel.accelerate(transformer, plan)
    with count_macs() as counter, dit_accel.run(transformer, STEPS, guidance=guidance):
        for step in range(STEPS):
            inputs["timestep"] = torch.full((WORKLOAD.rows,), 900 - 100 * step)
            transformer(**inputs)
    dit_accel.restore(transformer)
    return counter.total


@every_family
@pytest.mark.parametrize("name", STATIC)
def test_static_plans_equal_a_real_run(family: TinyFamily, name: str) -> None:
    transformer, plan = family.transformer(), Plan.load(PLANS[name])
    cost = run_cost(tiny_architecture(transformer), plan, WORKLOAD)
    assert cost.macs_plan == cost.macs_plan_lower == real_run_macs(transformer, plan)
    assert not cost.data_dependent


def test_empty_plan_is_dense() -> None:
    cost = run_cost(load_architecture("DiT-XL-2-256"), Plan(), Workload(3, batch=2))
    assert cost.macs_plan == cost.macs_dense == 3 * 4 * cost.macs_per_forward_dense


def test_cache_costs_its_computed_steps_and_little_more() -> None:
    plan = Plan.load({"cache": {"policy": {"kind": "interval", "interval": 2}}})
    cost = run_cost(load_architecture("DiT-XL-2-256"), plan, Workload(8))
    computed = sum(step.program.caches == ("compute",) for step in cost.steps)
    assert computed == 5  # 0, 2, 4, 6 and the last
    dense_steps = computed * 2 * cost.macs_per_forward_dense
    assert dense_steps < cost.macs_plan < 1.01 * dense_steps


def test_downsampled_keys_and_values_equal_the_formula() -> None:
    """A quarter of the keys: 3/4 of two projections and of both attention products saved."""
    plan = Plan.load({"attention": {"kind": "kv_downsample", "factor": 2}})
    cost = run_cost(load_architecture("DiT-XL-2-256"), plan, Workload(2, guided=False))
    tokens, width, layers = 256, 1152, 28
    removed = tokens - tokens // 4
    saving = layers * (2 * removed * width**2 + 2 * tokens * removed * width)
    assert cost.macs_plan == cost.macs_dense - 2 * saving


@every_family
def test_first_block_has_bounds_that_hold(family: TinyFamily) -> None:
    transformer, plan = family.transformer(), Plan.load(PLANS["first_block"])
    cost = run_cost(tiny_architecture(transformer), plan, WORKLOAD)
    assert cost.data_dependent
    assert cost.macs_plan == cost.macs_dense
    real = real_run_macs(transformer, plan)
    # The forecast itself is a handful of weighted sums beside the bounds of what is computed.
    assert 0.99 * cost.macs_plan_lower <= real <= 1.01 * cost.macs_plan
    assert cost.macs_plan_lower < 0.6 * cost.macs_plan


@every_family
@pytest.mark.parametrize("name", JUDGING)
def test_other_policies_have_bounds_that_hold(family: TinyFamily, name: str) -> None:
    transformer, plan = family.transformer(), Plan.load(JUDGING[name])
    cost = run_cost(tiny_architecture(transformer), plan, WORKLOAD)
    real = real_run_macs(transformer, plan)
    # Beside what is computed: weighted sums, and DiT's modulation of what input_change looks at.
    assert 0.99 * cost.macs_plan_lower <= real <= 1.02 * cost.macs_plan
    # The last step is computed, as far as these policies know before the run.
    ends = [step.macs == step.macs_lower for step in cost.steps]
    assert ends == [True, *[False] * (STEPS - 2), True]
    verified = 1 + (STEPS - 2) / STEPS / 4 if name == "verify" else 1
    assert 0.97 * verified < cost.macs_plan / cost.macs_dense <= verified
    blocks = {"verify": 1}.get(name, 0)
    assert cost.steps[1].macs_lower < (0.05 + blocks / 4) * cost.steps[0].macs


@pytest.mark.parametrize(("name", "always"), [("easy", 0), ("verify", 1)])
def test_a_summary_counts_what_was_run(name: str, always: int) -> None:
    """Against a count by dispatch, where no sample is computed and where all are."""
    family = FAMILIES["dit"]
    policy = dict(JUDGING[name]["cache"]["policy"])
    policy |= {"base": 1e9, "maximum": 99} if name == "verify" else {"threshold": 1e9}
    for fields in ({}, {"maximum": 1} if name == "verify" else {"threshold": 1e-9}):
        plan = Plan.load({"cache": {"policy": policy | fields, "guard": False}})
        transformer = family.transformer()
        inputs = forward_inputs(transformer, WORKLOAD.rows, SIZE, TEXT_LENGTH)
        dit_accel.accelerate(transformer, plan)
        with count_macs() as counter, dit_accel.run(transformer, STEPS, guidance=True):
            for step in range(STEPS):
                inputs["timestep"] = torch.full((WORKLOAD.rows,), 900 - 100 * step)
                inputs["hidden_states"] = inputs["hidden_states"] + 0.1
                transformer(**inputs)
        macs = dit_accel.summary(transformer).macs
        assert macs is not None and macs == pytest.approx(counter.total, rel=0.01)


def test_text_tokens_cost_what_their_projection_and_cross_attention_do() -> None:
    """One token more: its share of the caption's two layers, and keys and values in every block."""
    architecture = load_architecture("pixart-photos")
    few, more = (
        run_cost(architecture, Plan(), Workload(1, guided=False, text_tokens=count)).macs_dense
        for count in (24, 25)
    )
    config = architecture.config
    width, captions = config["cross_attention_dim"], config["caption_channels"]
    tokens = (config["sample_size"] // config["patch_size"]) ** 2
    projection = captions * width + width**2
    blocks = config["num_layers"] * (2 * width**2 + 2 * tokens * width)
    assert more - few == projection + blocks


def test_plan_outside_the_model_is_refused() -> None:
    plan = Plan.load({"density": {"kind": "pooled", "pool": 2, "layers": [0, 40]}})
    with pytest.raises(PlanError, match="layers"):
        run_cost(load_architecture("DiT-XL-2-256"), plan, Workload(4))
