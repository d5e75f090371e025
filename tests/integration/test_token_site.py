"""Chosen tokens: against a plain loop, by themselves in a batch, and at the ends of their range."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plain_tokens import (
    PlainTokens,
    most_important,
    one_of_each_cluster,
    towards_the_computed,
)
from tiny_models import (
    FAMILIES,
    NUM_LAYERS,
    TEXT_LENGTH,
    TinyFamily,
    calls_of,
    ddim,
    every_family,
)
from torch import Tensor
from torch._dynamo.testing import CompileCounter

import dit_accel
from dit_accel import Plan, PlanError
from dit_accel.errors import UnsupportedError
from dit_accel.install import installation_of
from dit_accel.measure.architectures import Architecture
from dit_accel.measure.explain import cell_text, explain
from dit_accel.measure.plan_macs import Workload

STEPS, SAMPLES, TOKENS = 8, (1, 2), 64
FULL = {0, 3, 6, 7}


def tokens(predictor: Any = "reuse", **policy: Any) -> dict[str, Any]:
    kind = {"kind": "token_importance", "share": 0.1, **policy}
    return {"site": "tokens", "predictor": predictor, "policy": kind}


def toca_count(layer: int, step: int, share: float = 0.1) -> int:
    """ToCa's release, its three factors written out."""
    left = (STEPS - 1 - step) / STEPS
    by_step = 1 + 2.0 - 4.0 * left
    by_layer = 1 - 0.2 + 0.4 * layer / (NUM_LAYERS - 1)
    return round(min(1.0, max(0.0, share * by_step * by_layer * 2.5)) * TOKENS)


def run(
    family: TinyFamily, plan: Any, samples: tuple[int, ...] = SAMPLES, guidance: bool = True
) -> list[Tensor]:
    transformer = dit_accel.accelerate(family.transformer(dtype=torch.float64), plan)
    with dit_accel.run(transformer, STEPS, guidance=guidance):
        return list(family.steps_of(transformer, samples, STEPS, "batched" if guidance else "none"))


def assert_equal_to(expected: list[Tensor], got: list[Tensor]) -> None:
    for mine, other in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-8)


@every_family
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    ("predictor", "order"), [("reuse", 0), ({"kind": "taylor", "order": 1}, 1)], ids=str
)
def test_token_importance_equals_a_plain_loop(
    family: TinyFamily, predictor: Any, order: int, exact: bool
) -> None:
    """`reuse` is ToCa with DuCa's score; with a trend, computed tokens go on from their values."""
    plain = PlainTokens(family, FULL, order, most_important(toca_count, 3))
    with torch.no_grad():
        expected = list(family.steps_of(plain.transformer, SAMPLES, STEPS))
    assert_equal_to(expected, run(family, {"cache": tokens(predictor), "exact": exact}))


def test_duca_alternates(layout: TinyFamily) -> None:
    def count(layer: int, step: int) -> int:
        return toca_count(layer, step) if (step % 4) % 2 else 0

    plain = PlainTokens(layout, {0, 4, 7}, 0, most_important(count, 4))
    with torch.no_grad():
        expected = list(layout.steps_of(plain.transformer, SAMPLES, STEPS))
    plan = {"cache": tokens(interval=4, alternate=True)}
    assert_equal_to(expected, run(layout, plan))
    transformer = dit_accel.accelerate(layout.transformer(), plan)
    with dit_accel.run(transformer, STEPS, guidance=True):
        layout.denoise(transformer, SAMPLES, STEPS)
    told = [call.sites[0].mode for call in calls_of(transformer)]
    # Early steps have no share left; the second step of a period never has.
    assert told == ["all", "none", "none", "some", "all", "some", "none", "all"]


def clusters(predictor: Any = "reuse", **policy: Any) -> dict[str, Any]:
    kind = {"kind": "token_cluster", "interval": 3, "clusters": 5, **policy}
    return {"site": "tokens", "predictor": predictor, "policy": kind}


@every_family
@pytest.mark.parametrize(("predictor", "order"), [("reuse", 0), ("polynomial", 1)])
def test_token_cluster_equals_a_plain_loop(family: TinyFamily, predictor: str, order: int) -> None:
    mix = towards_the_computed(5, 0.1)
    plain = PlainTokens(family, FULL, order, one_of_each_cluster(5, seed=3), mix)
    with torch.no_grad():
        expected = list(family.steps_of(plain.transformer, SAMPLES, STEPS))
    plan = {"cache": clusters(predictor, blend=0.1), "seed": 3}
    assert_equal_to(expected, run(family, plan))


@every_family
def test_interval_1_changes_no_bit(family: TinyFamily) -> None:
    pipe = family.pipeline()
    stock = family.generate(pipe, steps=3)
    dit_accel.accelerate(pipe, {"cache": tokens("polynomial", interval=1)})
    assert torch.equal(family.generate(pipe, steps=3), stock)


def test_all_tokens_are_a_cache_of_the_attentions_alone(layout: TinyFamily) -> None:
    every = tokens(share=1.0, step_weight=0.0, layer_weight=0.0)
    sites = ["attention", *(["cross_attention"] if layout.name != "dit" else [])]
    policy = {"kind": "interval", "interval": 3}
    attentions = [{"site": site, "predictor": "reuse", "policy": policy} for site in sites]
    assert_equal_to(run(layout, {"cache": attentions}), run(layout, {"cache": every}))


def test_no_tokens_are_a_cache_of_all_modules(layout: TinyFamily) -> None:
    none = tokens("taylor", share=0.0)
    sites = ["attention", "feed_forward"]
    sites += ["cross_attention"] if layout.name != "dit" else []
    policy = {"kind": "interval", "interval": 3}
    modules = [{"site": site, "predictor": "taylor", "policy": policy} for site in sites]
    for mine, other in zip(
        run(layout, {"cache": none}), run(layout, {"cache": modules}), strict=True
    ):
        assert torch.equal(mine, other)


GUIDANCE = {"site": "guidance", "predictor": "reuse", "policy": {"kind": "interval", "interval": 2}}
CACHES = [
    tokens(),
    clusters("taylor"),
    [clusters(), GUIDANCE],
    tokens("taylor", alternate=True, interval=4),
    [tokens("taylor"), GUIDANCE],
    [{**tokens(), "site": {"kind": "tokens", "first": 1, "last": 2}}, GUIDANCE],
]


@pytest.mark.parametrize("cache", CACHES, ids=str)
def test_a_batch_equals_its_samples_alone(layout: TinyFamily, cache: Any) -> None:
    batch = run(layout, {"cache": cache}, (1, 2, 3))[-1]
    alone = [run(layout, {"cache": cache}, (sample,))[-1] for sample in (1, 2, 3)]
    torch.testing.assert_close(batch, torch.cat(alone), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("mate", [1e3, torch.nan])
@pytest.mark.parametrize("cache", CACHES, ids=str)
def test_an_adversarial_batch_mate_changes_nothing(
    layout: TinyFamily, cache: Any, mate: float
) -> None:
    def outputs(scale: float) -> list[Tensor]:
        transformer = dit_accel.accelerate(
            layout.transformer(dtype=torch.float64), {"cache": cache}
        )
        condition = layout.guided_condition((1, 2), torch.float64)
        found = []
        with torch.no_grad(), dit_accel.run(transformer, STEPS, guidance=True):
            for step in range(STEPS):
                generator = torch.Generator().manual_seed(step)
                rows = torch.randn(2, 4, 8, 8, generator=generator, dtype=torch.float64)
                rows[1] *= scale
                both = torch.cat([rows, rows])
                found.append(layout.predict(transformer, both, 900 - 100 * step, condition)[[0, 2]])
        return found

    assert_equal_to(outputs(1.0), outputs(mate))


def test_both_rows_of_a_sample_compute_the_same_tokens(layout: TinyFamily) -> None:
    transformer = layout.transformer()
    seen: list[Tensor] = []
    dit_accel.accelerate(transformer, {"cache": tokens(share=0.3)})
    installation = installation_of(transformer)
    assert installation is not None
    with dit_accel.run(transformer, STEPS, guidance=True):
        for _ in layout.steps_of(transformer, SAMPLES, STEPS):
            for run_state in installation._caches._modules._runs.values():
                seen += [chooser._age.clone() for chooser in run_state.choosers.values()]
    assert seen and all(torch.equal(*age.chunk(2)) for age in seen)
    assert any(not torch.equal(age[0], age[1]) for age in seen)


def test_prompts_of_one_seed_are_no_guidance(layout: TinyFamily) -> None:
    """Equal latents pass for guidance until the scheduler tells; then each chooses for itself."""
    pipe = dit_accel.accelerate(layout.pipeline(ddim()), {"cache": tokens(share=0.3)})
    pipe.scheduler.set_timesteps(6)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(4)).repeat(2, 1, 1, 1)
    condition = layout.condition((1, 2), torch.float32)
    with torch.no_grad():
        for timestep in pipe.scheduler.timesteps:
            out = layout.predict(pipe.transformer, latents, timestep, condition)
            latents = pipe.scheduler.step(out, timestep, latents).prev_sample
    assert latents.isfinite().all()
    assert [len(call.sites[0].needed) for call in calls_of(pipe)][1:] == [2] * 5


@pytest.mark.parametrize("guidance", [True, False])
@pytest.mark.parametrize(
    ("predictor", "kept"), [("reuse", 1), ({"kind": "taylor", "order": 2}, 3)], ids=str
)
def test_bytes_are_the_closed_formula_and_what_explain_says(
    layout: TinyFamily, predictor: Any, kept: int, guidance: bool
) -> None:
    plan = Plan.load({"cache": tokens(predictor, share=0.2)})
    transformer = dit_accel.accelerate(layout.transformer(), plan)
    with dit_accel.run(transformer, STEPS, guidance=guidance):
        layout.denoise(transformer, SAMPLES, STEPS, "batched" if guidance else "none")
    width, modules = {"dit": (32, 2), "alpha": (36, 3)}[layout.name]
    rows = 4 if guidance else 2
    corrected = kept > 1
    beside = NUM_LAYERS * rows * TOKENS * 8
    numbers = (kept * modules + corrected) * NUM_LAYERS * rows * TOKENS * width
    assert dit_accel.summary(transformer).cache_bytes == 4 * numbers + beside
    architecture = Architecture("tiny", type(transformer), dict(transformer.config))
    workload = Workload(STEPS, 2, guidance, (8, 8), TEXT_LENGTH)
    assert explain(architecture, plan, workload).cache_bytes == 2 * numbers + beside


def test_bytes_of_clusters_are_one_number_a_token(layout: TinyFamily) -> None:
    plan = Plan.load({"cache": clusters()})
    transformer = dit_accel.accelerate(layout.transformer(), plan)
    with dit_accel.run(transformer, STEPS, guidance=True):
        layout.denoise(transformer, SAMPLES, STEPS)
    width, modules = {"dit": (32, 2), "alpha": (36, 3)}[layout.name]
    expected = modules * NUM_LAYERS * 4 * TOKENS * width * 4 + 4 * TOKENS * 8
    assert dit_accel.summary(transformer).cache_bytes == expected


def test_more_clusters_than_tokens_are_refused(layout: TinyFamily) -> None:
    transformer = dit_accel.accelerate(layout.transformer(), {"cache": clusters(clusters=65)})
    with pytest.raises(PlanError, match="clusters: got 65, expected at most 64"):
        layout.denoise(transformer, steps=2)


def test_explain_and_summary_tell_the_tokens(layout: TinyFamily) -> None:
    plan = Plan.load({"cache": tokens()})
    transformer = dit_accel.accelerate(layout.transformer(), plan)
    with dit_accel.run(transformer, STEPS, guidance=True):
        layout.denoise(transformer, SAMPLES, STEPS)
    architecture = Architecture("tiny", type(transformer), dict(transformer.config))
    workload = Workload(STEPS, 2, True, (8, 8), TEXT_LENGTH)
    programs = [step.program for step in explain(architecture, plan, workload).cost.steps]
    for step, program in enumerate(programs):
        for layer in range(NUM_LAYERS):
            said = "" if step in FULL else f"{toca_count(layer, step)} tokens computed"
            assert cell_text(program, layer) == said
    (counts,) = dit_accel.summary(transformer).caches
    computed = [
        1.0 if step in FULL else toca_count(layer, step) / TOKENS
        for step in range(STEPS)
        for layer in range(NUM_LAYERS)
    ]
    assert counts.computed == pytest.approx(sum(computed) / len(computed))
    assert counts.sample_steps == (4, 4)


@pytest.mark.parametrize(
    ("key", "cache"),
    [
        ("dit", tokens(share=0.3)),
        pytest.param("alpha", clusters("taylor"), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_compiled_blocks_agree_and_do_not_recompile(key: str, cache: Any) -> None:
    """Attention is compiled; the feed-forward, whose tokens change in number, is left out of it."""
    torch._dynamo.reset()
    family = FAMILIES[key]
    transformer = dit_accel.accelerate(family.transformer(2), {"cache": cache})

    def go() -> Tensor:
        with dit_accel.run(transformer, STEPS, guidance=True):
            return family.denoise(transformer, SAMPLES, STEPS)

    eager, counter = go(), CompileCounter()
    for block in transformer.transformer_blocks:
        block.compile(backend=counter)
    torch.testing.assert_close(go(), eager, rtol=1e-4, atol=1e-4)
    compiled = counter.frame_count
    assert compiled > 0
    torch.testing.assert_close(go(), eager, rtol=1e-4, atol=1e-4)
    assert counter.frame_count == compiled


def test_fused_values_are_refused(layout: TinyFamily) -> None:
    transformer = dit_accel.accelerate(layout.transformer(), {"cache": tokens()})
    for block in transformer.transformer_blocks:
        block.attn1.fused_projections = True
    with pytest.raises(UnsupportedError, match="unfuse_qkv_projections"):
        layout.denoise(transformer, steps=2)


@pytest.mark.parametrize(
    ("plan", "parts"),
    [
        ({"cache": {"site": "tokens", "policy": "interval"}}, ["chooses none", "token_importance"]),
        ({"cache": {"policy": "token_importance"}}, ["chooses tokens", "use site tokens"]),
        ({"cache": [tokens(), {"site": "attention", "policy": "interval"}]}, ["the attention of"]),
        ({"cache": tokens(), "merge": {"kind": "tome2d"}}, ["merge hands them others"]),
        ({"cache": tokens(), "attention": {"kind": "kv_downsample"}}, ["attention hands them"]),
        ({"cache": {**tokens(), "guard": 2.0}}, ["guard: got 2.0"]),
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
