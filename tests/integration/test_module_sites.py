"""Caches inside the blocks: against a plain loop, beside other methods, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plain_modules import MODULES, PlainModules, at_steps
from tiny_models import FAMILIES, NUM_LAYERS, TEXT_LENGTH, TinyFamily, calls_of, every_family
from torch import Tensor
from torch._dynamo.testing import CompileCounter

import dit_accel
from dit_accel import Plan, PlanError
from dit_accel.errors import UnsupportedError
from dit_accel.install import installation_of
from dit_accel.measure.architectures import Architecture
from dit_accel.measure.explain import cell_text, explain
from dit_accel.measure.plan_macs import Workload

STEPS, SAMPLES = 9, (1, 2)
EVERY_THIRD = {0, 3, 6, 8}
SITES = [
    pytest.param(family, site, id=f"{name}-{site}")
    for name, family in FAMILIES.items()
    for site in MODULES
    if (name, site) != ("dit", "cross_attention")
]


def cache(site: Any, interval: int = 3, predictor: Any = "reuse") -> dict[str, Any]:
    return {
        "site": site,
        "predictor": predictor,
        "policy": {"kind": "interval", "interval": interval},
    }


def listed(site: Any, steps: set[int], predictor: Any = "reuse") -> dict[str, Any]:
    policy = {"kind": "list", "compute": sorted(steps)}
    return {"site": site, "predictor": predictor, "policy": policy}


def run(family: TinyFamily, plan: Any, samples: tuple[int, ...] = SAMPLES) -> list[Tensor]:
    transformer = dit_accel.accelerate(family.transformer(dtype=torch.float64), plan)
    with dit_accel.run(transformer, STEPS, guidance=True):
        return list(family.steps_of(transformer, samples, STEPS))


def assert_equal_to(expected: list[Tensor], got: list[Tensor]) -> None:
    for mine, other in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("family", "site"), SITES)
@pytest.mark.parametrize(("predictor", "order"), [("reuse", 0), ("taylor", 1)])
def test_a_module_equals_a_plain_loop(
    family: TinyFamily, site: str, predictor: str, order: int
) -> None:
    """`reuse` at interval 3 is FORA on one kind of module; `taylor` is TaylorSeer there."""
    expected = PlainModules(family, {site: at_steps(EVERY_THIRD, order)}).steps(SAMPLES, STEPS)
    assert_equal_to(expected, run(family, {"cache": cache(site, 3, predictor)}))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("guided", [None, {0, 3, 4, 7}])
def test_modules_with_policies_of_their_own_and_guidance_equal_a_plain_loop(
    layout: TinyFamily, guided: set[int] | None, exact: bool
) -> None:
    """Rows that were absent while a module was computed are forecast from what they had."""
    rules = {
        "attention": at_steps({0, 2, 4, 6, 8}, 0, range(1, 3)),
        "feed_forward": at_steps({0, 1, 5}, 1),
    }
    attention = {"kind": "attention", "first": 1, "last": -2}
    caches = [
        listed(attention, {0, 2, 4, 6, 8}),
        listed("feed_forward", {0, 1, 5}, "polynomial"),
    ]
    if layout.name != "dit":
        rules["cross_attention"] = at_steps({0, 6}, 0)
        caches.append(listed("cross_attention", {0, 6}))
    if guided is not None:
        caches.append(listed("guidance", guided))
    expected = PlainModules(layout, rules, guided).steps(SAMPLES, STEPS)
    assert_equal_to(expected, run(layout, {"cache": caches, "exact": exact}))


@every_family
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    "rest",
    [
        {},
        {"attention": {"kind": "kv_downsample", "factor": 2}},
        {"merge": {"kind": "tome2d", "at": ["attention", "feed_forward"], "reuse_steps": 2}},
    ],
    ids=["alone", "downsampled", "merged"],
)
def test_a_plan_that_never_skips_changes_no_bit(
    family: TinyFamily, rest: dict[str, Any], exact: bool
) -> None:
    sites = [site for site in MODULES if family.name != "dit" or site != "cross_attention"]
    caches = {"cache": [cache(site, 1, "polynomial") for site in sites]}
    without = family.generate(
        dit_accel.accelerate(family.pipeline(), {**rest, "exact": exact}), steps=3
    )
    pipe = dit_accel.accelerate(family.pipeline(), {**rest, **caches, "exact": exact})
    assert torch.equal(family.generate(pipe, steps=3), without)


def test_what_lies_inside_of_a_cached_module_may_change_with_the_steps(layout: TinyFamily) -> None:
    """A matching that was due while nothing merged is made when something does."""
    merge = {"kind": "tome2d", "at": ["attention", "feed_forward"], "reuse_steps": 2}
    plan = {
        "merge": {**merge, "reuse_layers": 2},
        "cache": [cache("attention"), cache("feed_forward")],
    }
    batch = run(layout, plan)[-1]
    alone = [run(layout, plan, (sample,))[-1] for sample in SAMPLES]
    torch.testing.assert_close(batch, torch.cat(alone), rtol=1e-7, atol=1e-7)


@every_family
def test_a_module_does_not_run_where_it_is_forecast(family: TinyFamily) -> None:
    transformer = family.transformer()
    ran = dict.fromkeys(("attn1", "ff"), 0)
    for block in transformer.transformer_blocks:
        for name in ran:

            def count(*_: Any, name: str = name) -> None:
                ran[name] += 1

            inner = block.attn1.to_q if name == "attn1" else block.ff.net[0]
            inner.register_forward_pre_hook(count)
    last = {"kind": "feed_forward", "first": 3}
    plan = {"cache": [cache("attention", 2), cache(last, 4)]}
    dit_accel.accelerate(transformer, plan)
    with dit_accel.run(transformer, STEPS):
        family.denoise(transformer, steps=STEPS)
    assert ran == {"attn1": 5 * NUM_LAYERS, "ff": 3 * STEPS + 3}
    told = [[site.mode for site in call.sites] for call in calls_of(transformer)]
    assert told == [["all" if step % k == 0 else "none" for k in (2, 4)] for step in range(STEPS)]
    first, second = dit_accel.summary(transformer).caches
    assert (first.computed, second.computed) == (5 / 9, 3 / 9)
    assert first.sample_steps == (5,) * 6


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize(
    ("site", "layers"), [("attention", 4), ({"kind": "feed_forward", "first": 1, "last": 2}, 2)]
)
def test_bytes_are_snapshots_times_layers(
    layout: TinyFamily, site: Any, layers: int, calls: int
) -> None:
    transformer = dit_accel.accelerate(
        layout.transformer(), {"cache": cache(site, 2, {"kind": "taylor", "order": 2})}
    )
    samples, guidance = ((1, 2, 3, 4), "separate") if calls == 2 else ((1, 2), "batched")
    with dit_accel.run(transformer, 8, calls_per_step=calls):
        layout.denoise(transformer, samples, steps=8, guidance=guidance)
    width = {"dit": 32, "alpha": 36}[layout.name]
    assert dit_accel.summary(transformer).cache_bytes == calls * 3 * layers * 4 * 64 * width * 4


def test_explain_tells_modules_and_bytes(layout: TinyFamily) -> None:
    transformer = layout.transformer()
    plan = Plan.load(
        {"cache": [cache("attention", 2), cache({"kind": "feed_forward", "first": 2})]}
    )
    architecture = Architecture("tiny", type(transformer), dict(transformer.config))
    workload = Workload(4, batch=1, latent_size=(8, 8), text_tokens=TEXT_LENGTH)
    found = explain(architecture, plan, workload)
    second = found.cost.steps[1].program
    assert cell_text(second, 0) == "attention forecast"
    assert cell_text(second, 2) == "attention forecast + feed_forward forecast"
    assert cell_text(found.cost.steps[2].program, 0) == ""
    width = {"dit": 32, "alpha": 36}[layout.name]
    assert [each.nbytes for each in found.caches] == [n * 2 * 64 * width * 2 for n in (4, 2)]
    assert found.to_dict()["steps"][1]["layers"][0] == ["attention forecast"]


def test_an_adversarial_batch_mate_changes_nothing(layout: TinyFamily) -> None:
    plan = {"cache": [cache("attention", 2, "taylor"), cache("feed_forward")]}

    def outputs(mate: float) -> list[Tensor]:
        transformer = dit_accel.accelerate(layout.transformer(dtype=torch.float64), plan)
        condition = layout.guided_condition((1, 2), torch.float64)
        found = []
        with torch.no_grad(), dit_accel.run(transformer, 6, guidance=True):
            for step in range(6):
                generator = torch.Generator().manual_seed(step)
                rows = torch.randn(2, 4, 8, 8, generator=generator, dtype=torch.float64)
                rows[1] *= mate
                both = torch.cat([rows, rows])
                found.append(layout.predict(transformer, both, 900 - 100 * step, condition)[[0, 2]])
        return found

    assert_equal_to(outputs(1.0), outputs(torch.nan))


def test_hooks_come_off_in_company_of_all_others(layout: TinyFamily) -> None:
    plan = {
        "cache": [cache("attention"), cache("feed_forward")],
        "merge": {"kind": "tome2d", "at": ["attention", "feed_forward"]},
        "exact": True,
    }
    pipe = layout.pipeline()
    stock = layout.generate(pipe, steps=3)
    before = [set(vars(module)) for module in pipe.transformer.modules()]
    dit_accel.accelerate(pipe, plan)
    layout.generate(pipe, steps=3)
    installation = installation_of(pipe)
    assert installation is not None and installation.nbytes == 0
    dit_accel.restore(pipe)
    assert [set(vars(module)) for module in pipe.transformer.modules()] == before
    assert torch.equal(layout.generate(pipe, steps=3), stock)


@pytest.mark.parametrize(
    "layout", ["dit", pytest.param("alpha", marks=pytest.mark.slow)], indirect=True
)
def test_compiled_blocks_have_no_graph_break_and_do_not_recompile(layout: TinyFamily) -> None:
    """Intervals that divide each other make three programs; dynamo compiles eight at most."""
    torch._dynamo.reset()
    plan = {"cache": [cache("attention", 2, "taylor"), cache("feed_forward", 4)]}
    transformer = dit_accel.accelerate(layout.transformer(3), plan)

    def go() -> Tensor:
        with dit_accel.run(transformer, 7):
            return layout.denoise(transformer, (1, 2), steps=7)

    eager, counter = go(), CompileCounter()
    for block in transformer.transformer_blocks:
        block.compile(backend=counter, fullgraph=True)
    torch.testing.assert_close(go(), eager, rtol=1e-4, atol=1e-4)
    compiled = counter.frame_count
    assert 0 < compiled <= 8
    torch.testing.assert_close(go(), eager, rtol=1e-4, atol=1e-4)
    assert counter.frame_count == compiled


def test_cross_attention_is_refused_where_there_is_none() -> None:
    transformer = FAMILIES["dit"].transformer()
    before = [set(vars(module)) for module in transformer.modules()]
    with pytest.raises(UnsupportedError, match=r"no cross_attention.*use site attention"):
        dit_accel.accelerate(transformer, {"cache": cache("cross_attention")})
    assert [set(vars(module)) for module in transformer.modules()] == before


def test_a_feed_forward_in_chunks_is_refused(layout: TinyFamily) -> None:
    transformer = dit_accel.accelerate(layout.transformer(), {"cache": cache("feed_forward")})
    transformer.transformer_blocks[1].set_chunk_feed_forward(16, 1)
    with pytest.raises(UnsupportedError, match="set_chunk_feed_forward"):
        layout.denoise(transformer, steps=2)


def deep(first: int, last: int, policy: str = "interval") -> dict[str, Any]:
    return {"site": {"kind": "deep", "first": first, "last": last}, "policy": policy}


@pytest.mark.parametrize(
    ("caches", "rest", "parts"),
    [
        ([cache("attention"), cache("attention", 2)], {}, ["cache[0] and cache[1]", "attention"]),
        ([deep(1, 2), cache("attention")], {}, ["[1, 2]", "cache[0]", "leaves out", "apart"]),
        (
            [cache({"kind": "feed_forward", "last": 0}), deep(1, 3, "first_block")],
            {},
            ["[0]", "looks at"],
        ),
        ({"site": "model", "policy": "interval"}, {}, []),
        ([{"policy": "interval"}, cache("attention")], {}, ["site model remembers all blocks"]),
        (
            {"site": "attention", "policy": "first_block"},
            {},
            ["cache.policy", "use policy interval"],
        ),
        ({**cache("attention"), "guard": 3.0}, {}, ["cache.guard: got 3.0", "remove guard"]),
        (cache({"kind": "attention", "first": 2, "last": 4}), {}, ["cache.site: got", "< 4"]),
        (cache("attention"), {"density": {"kind": "pooled"}}, ["density", "remove one"]),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_with_the_reason(
    caches: Any, rest: dict[str, Any], parts: list[str]
) -> None:
    transformer = FAMILIES["dit"].transformer()
    if not parts:
        dit_accel.accelerate(transformer, {"cache": caches, **rest})
        return
    with pytest.raises(PlanError) as raised:
        dit_accel.accelerate(transformer, {"cache": caches, **rest})
    for part in parts:
        assert part in str(raised.value)


def test_caches_in_blocks_apart_from_deep_ones_are_fine(layout: TinyFamily) -> None:
    plan = {"cache": [deep(2, 3, "first_block"), deep(1, 1), cache("guidance", 4)]}
    with pytest.raises(PlanError, match="leaves some of them out"):
        dit_accel.accelerate(layout.transformer(), plan)
    caches = [deep(1, 2), cache({"kind": "attention", "first": 3}), cache("guidance", 4)]
    assert run(layout, {"cache": caches})[-1].isfinite().all()
