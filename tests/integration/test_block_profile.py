"""Tables of computed steps, layer by layer: against a plain loop, and from measured errors."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from plain_modules import PlainModules
from references import extrapolate
from tiny_models import NUM_LAYERS, TEXT_LENGTH, TinyFamily, calls_of
from torch import Tensor

import dit_accel
from dit_accel import Plan, PlanError
from dit_accel.install import installation_of
from dit_accel.measure.architectures import Architecture
from dit_accel.measure.explain import cell_text, explain
from dit_accel.measure.plan_macs import Workload, run_cost
from dit_accel.methods.caching.policies.block_profile import BlockProfile

STEPS, SAMPLES = 7, (1, 2)
TABLE = [[0, 2, 4, 6], [0, 3], [0], [0, 2, 4, 6]]


def plan_of(site: Any, predictor: str = "reuse", table: Any = TABLE) -> dict[str, Any]:
    policy = {"kind": "block_profile", "compute": table}
    return {"cache": {"site": site, "predictor": predictor, "policy": policy}}


def run(family: TinyFamily, plan: Any) -> list[Tensor]:
    transformer = dit_accel.accelerate(family.transformer(dtype=torch.float64), plan)
    with dit_accel.run(transformer, STEPS, guidance=True):
        return list(family.steps_of(transformer, SAMPLES, STEPS))


def assert_equal_to(expected: list[Tensor], got: list[Tensor]) -> None:
    for mine, other in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("site", ["attention", "feed_forward"])
@pytest.mark.parametrize(("predictor", "order"), [("reuse", 0), ("polynomial", 1)])
def test_modules_of_layers_have_steps_of_their_own(
    layout: TinyFamily, site: str, predictor: str, order: int
) -> None:
    def rule(layer: int, step: int) -> int | None:
        return None if step in TABLE[layer] else order

    expected = PlainModules(layout, {site: rule}).steps(SAMPLES, STEPS)
    assert_equal_to(expected, run(layout, plan_of(site, predictor)))


class PlainBlocks:
    """Blocks whose residual is that of their last computed steps."""

    def __init__(self, family: TinyFamily, order: int) -> None:
        self.transformer, self.order = family.transformer(dtype=torch.float64), order
        self.step, self.starts = -1, [torch.empty(0)] * NUM_LAYERS
        self.history: list[list[tuple[float, Tensor]]] = [[] for _ in range(NUM_LAYERS)]
        self.transformer.register_forward_pre_hook(self._next)
        for layer, block in enumerate(self.transformer.transformer_blocks):
            block.register_forward_pre_hook(partial(self._enter, layer), with_kwargs=True)
            block.register_forward_hook(partial(self._leave, layer))

    def _next(self, *_: Any) -> None:
        self.step += 1

    def _enter(self, layer: int, _module: Any, args: Any, kwargs: Any) -> None:
        self.starts[layer] = args[0] if args else kwargs["hidden_states"]

    def _leave(self, layer: int, _module: Any, _args: Any, output: Tensor) -> Tensor:
        start, history = self.starts[layer], self.history[layer]
        if self.step in TABLE[layer]:
            history.append((self.step, output - start))
            return output
        return start + extrapolate(history, self.step, self.order)


@pytest.mark.parametrize(("predictor", "order"), [("reuse", 0), ("taylor", 1)])
def test_blocks_have_steps_of_their_own(layout: TinyFamily, predictor: str, order: int) -> None:
    plain = PlainBlocks(layout, order)
    with torch.no_grad():
        expected = list(layout.steps_of(plain.transformer, SAMPLES, STEPS))
    assert_equal_to(expected, run(layout, plan_of("block", predictor)))


@pytest.mark.parametrize("site", ["block", "attention", "feed_forward"])
def test_one_list_is_policy_list(layout: TinyFamily, site: str) -> None:
    listed = {"site": site, "policy": {"kind": "list", "compute": [0, 1, 4]}, "predictor": "reuse"}
    for mine, other in zip(
        run(layout, plan_of(site, table=[[0, 1, 4]])), run(layout, {"cache": listed}), strict=True
    ):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("site", ["block", "feed_forward"])
def test_a_table_of_all_steps_changes_no_bit(layout: TinyFamily, site: str) -> None:
    pipe = layout.pipeline()
    stock = layout.generate(pipe, steps=3)
    table = [[0, 1, 2]] * 3 + [[0, 1]]
    dit_accel.accelerate(pipe, plan_of(site, table=[[0, 1, 2]] * NUM_LAYERS))
    assert torch.equal(layout.generate(pipe, steps=3), stock)
    dit_accel.accelerate(pipe, plan_of(site, table=table))
    assert not torch.equal(layout.generate(pipe, steps=3), stock)


@pytest.mark.parametrize("site", ["block", "attention"])
def test_what_is_told_is_what_happens(layout: TinyFamily, site: str) -> None:
    transformer, plan = layout.transformer(), Plan.load(plan_of(site))
    dit_accel.accelerate(transformer, plan)
    with dit_accel.run(transformer, STEPS, guidance=True):
        layout.denoise(transformer, SAMPLES, STEPS)
    computed = [sum(step in steps for steps in TABLE) for step in range(STEPS)]
    calls = calls_of(transformer)
    assert [call.sites[0].needed_share for call in calls] == [n / 4 for n in computed]
    modes = ["all", "none", "some", "some", "some", "none", "some"]
    assert [call.sites[0].mode for call in calls] == modes
    skipped = [
        {layer for layer, steps in enumerate(TABLE) if step not in steps} for step in range(STEPS)
    ]
    if site == "attention":
        skipped = [set()] * STEPS
    assert [set(call.skipped_layers) for call in calls] == skipped
    (counts,) = dit_accel.summary(transformer).caches
    assert counts.computed == pytest.approx(sum(computed) / 28)
    assert counts.sample_steps[0] == 5 and counts.calls == STEPS
    programs = [step.program for step in _explained(transformer, plan).cost.steps]
    said = {"block": "forecast", "attention": "attention forecast"}[site]
    for step, program in enumerate(programs):
        for layer, steps in enumerate(TABLE):
            assert cell_text(program, layer) == ("" if step in steps else said)
    assert programs[2].caches == ("compute",) and programs[1].caches == ("forecast",)


def _explained(transformer: Any, plan: Plan) -> Any:
    architecture = Architecture("tiny", type(transformer), dict(transformer.config))
    return explain(architecture, plan, Workload(STEPS, 2, True, (8, 8), TEXT_LENGTH))


def test_macs_and_bytes_are_those_of_the_table(layout: TinyFamily) -> None:
    transformer = layout.transformer()
    architecture = Architecture("tiny", type(transformer), dict(transformer.config))
    workload = Workload(STEPS, 2, True, (8, 8), TEXT_LENGTH)
    found = run_cost(architecture, Plan.load(plan_of("block")), workload)
    dense = run_cost(architecture, Plan(), workload)
    macs = [step.macs for step in found.steps]
    whole = dense.steps[0].macs
    block = (whole - macs[1]) / NUM_LAYERS
    computed = [sum(step in steps for steps in TABLE) for step in range(STEPS)]
    assert macs == pytest.approx([whole - (NUM_LAYERS - n) * block for n in computed])
    width = {"dit": 32, "alpha": 36}[layout.name]
    dit_accel.accelerate(transformer, plan_of("block", "taylor"))
    with dit_accel.run(transformer, STEPS, guidance=True):
        layout.denoise(transformer, SAMPLES, STEPS)
    assert dit_accel.summary(transformer).cache_bytes == 2 * NUM_LAYERS * 4 * 64 * width * 4
    installation = installation_of(transformer)
    assert installation is not None and installation.nbytes == 0


def test_a_table_made_of_measured_errors_is_that_of_smooth_cache() -> None:
    """The worked example of the fact sheet (T10), and another layer that never lasts."""
    lasts = np.tile([0.05, 0.12, 0.25], (7, 1))
    never = np.ones((7, 3))
    policy = BlockProfile.from_errors([lasts, never], 0.15)
    assert policy.compute == ((0, 3, 6), tuple(range(7)))
    assert policy == BlockProfile(compute=[[0, 3, 6], list(range(7))], num_steps=7)


def test_layers_with_equal_lists_act_alike() -> None:
    groups = BlockProfile(compute=TABLE).by_layer(range(2, 6))
    assert [layers for layers, _ in groups] == [(2, 5), (3,), (4,)]
    assert [layers for layers, _ in BlockProfile(compute=[[0, 2]]).by_layer(range(3))] == [
        (0, 1, 2)
    ]


@pytest.mark.parametrize(
    ("plan", "parts"),
    [
        (plan_of("attention", table=[[0], [0, 1]]), ["got 2 lists", "expected 4", "one for all"]),
        (plan_of("block", table=[[0], [0, 1]]), ["got 2 lists", "expected 4"]),
        (plan_of("model"), ["site model remembers none by itself", "use policy list"]),
        (plan_of("guidance"), ["site guidance remembers none"]),
        (plan_of("tokens"), ["chooses none"]),
        (plan_of("block", table=[[1, 2]]), ["ascending order from 0"]),
        (plan_of("block", table=[]), ["cache.policy.compute"]),
        (
            {"cache": {"policy": {"kind": "block_profile", "compute": [[0, 7]], "num_steps": 7}}},
            ["cache.policy.num_steps: got 7, expected more than 7", "raise it"],
        ),
        ({"cache": {**plan_of("block")["cache"], "guard": 2.0}}, ["guard: got 2.0"]),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_with_the_reason(
    layout: TinyFamily, plan: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(PlanError) as raised:
        dit_accel.accelerate(layout.transformer(), plan)
    for part in parts:
        assert part in str(raised.value)


def test_a_table_for_another_number_of_steps_is_refused() -> None:
    plan = Plan.load(plan_of("block"))
    with pytest.raises(PlanError, match="got step 6, expected indices below 5"):
        plan.check_against(4, 5)
