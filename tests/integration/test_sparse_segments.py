"""Density segments beside everything else: caches, exact rewrites, adapters, copies, leaks."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from leaks import SCENARIOS, Subject
from tiny_models import FAMILIES, TinyFamily, every_family, modes
from torch._dynamo.testing import CompileCounter

import dit_accel
from dit_accel.errors import PlanError, UnsupportedError
from dit_accel.install import installation_of
from dit_accel.learned_parts import fixed_density, learned_parts
from dit_accel.sampling.variants import shared_copy

GRIDS = {"schedule": "steps", "values": [[2, 4], [4, 4], [8, 8]], "at": [0.4, 0.8]}
LAYOUT: dict[str, Any] = {"pooling": 1, "segments": 1, "group": [1, 1, 1, 1]}
DENSITY = {"kind": "sparse", "grid": GRIDS, "layout": LAYOUT}
LAYERS = 5


def build(family: TinyFamily, dtype: torch.dtype = torch.float32, **plan: Any) -> Any:
    transformer = family.transformer(LAYERS, dtype)
    dit_accel.accelerate(transformer, {"density": DENSITY, **plan})
    return train(transformer)


def train(target: Any) -> Any:
    """Other values than the initial ones, so that a part that is left out is noticed."""
    generator = torch.Generator().manual_seed(3)
    for parameter in learned_parts(target).parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data += 0.1 * noise.to(parameter.dtype)
    return target


def run(family: TinyFamily, transformer: Any, steps: int = 6, **kwargs: Any) -> torch.Tensor:
    with dit_accel.run(transformer, steps):
        return family.denoise(transformer, steps=steps, **kwargs)


@every_family
def test_a_batch_of_n_equals_n_batches_of_one(family: TinyFamily) -> None:
    transformer = build(family, torch.float64)
    together = run(family, transformer, samples=(1, 2, 3))
    alone = [run(family, transformer, samples=(sample,)) for sample in (1, 2, 3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-9, atol=1e-9)


@every_family
@pytest.mark.parametrize("guidance", ["batched", "separate", "none"])
def test_guidance_in_one_call_and_in_two(family: TinyFamily, guidance: str) -> None:
    transformer = build(family, torch.float64)
    got = family.denoise(transformer, steps=4, guidance=guidance)
    if guidance == "separate":
        batched = family.denoise(transformer, steps=4)
        torch.testing.assert_close(got, batched, rtol=1e-9, atol=1e-9)
    assert got.isfinite().all()


@every_family
def test_restore_leaves_no_trace_and_the_state_dict_never_changes(family: TinyFamily) -> None:
    pipe = family.pipeline(num_layers=LAYERS)
    keys, stock = list(pipe.transformer.state_dict()), family.generate(pipe)
    dit_accel.accelerate(pipe, {"density": DENSITY})
    assert list(pipe.transformer.state_dict()) == keys
    assert list(learned_parts(pipe)) == ["segment_0"]
    sparse = family.generate(pipe)
    assert not torch.equal(sparse, stock)
    dit_accel.restore(pipe)
    assert len(learned_parts(pipe)) == 0
    assert torch.equal(family.generate(pipe), stock)
    for module in pipe.transformer.modules():
        assert not hasattr(module, "_diffusers_hook") and "forward" not in vars(module)


def test_what_was_learned_comes_back_after_a_scoped_plan() -> None:
    family = FAMILIES["dit"]
    transformer = build(family)
    parts, expected = learned_parts(transformer), run(family, transformer)
    with dit_accel.accelerated(transformer, {"density": {"kind": "pooled", "pool": 2}}):
        assert len(learned_parts(transformer)) == 0
    assert learned_parts(transformer) is parts
    assert torch.equal(run(family, transformer), expected)


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
@pytest.mark.parametrize("key", ["dit", "alpha"])
def test_no_leak_with_a_schedule_of_grids(key: str, scenario: Any) -> None:
    cache = {"policy": {"kind": "interval", "interval": 2}, "site": "model"}
    density = {"kind": "sparse", "grid": GRIDS, "layout": {"segments": 1, "group": [1, 1, 1, 0]}}
    scenario(Subject(FAMILIES[key], {"density": density, "cache": cache}))


@pytest.mark.parametrize("name", ["modulations", "fused_projections", "guidance_rows", "all"])
@every_family
def test_exact_rewrites_change_nothing(family: TinyFamily, name: str) -> None:
    expected = run(family, build(family, torch.float64))
    exact = True if name == "all" else {name: True}
    got = run(family, build(family, torch.float64, exact=exact))
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("key", ["dit", "alpha"])
def test_guidance_rows_share_no_first_attention_that_reads_other_tokens(key: str) -> None:
    """PixArt's first self-attention runs on half the rows, unless keys come from elsewhere."""
    family, layout = FAMILIES[key], {"segments": 1, "group": [1, 1, 1, 2]}
    density = DENSITY | {"layout": layout}
    plain = run(family, build(family, torch.float64, density=density))
    got = run(family, build(family, torch.float64, density=density, exact={"guidance_rows": True}))
    torch.testing.assert_close(got, plain, rtol=1e-8, atol=1e-8)


@every_family
@pytest.mark.parametrize(
    "cache",
    [
        {"site": "model", "policy": {"kind": "interval", "interval": 2}},
        {"site": {"kind": "deep", "first": 1}, "policy": {"kind": "first_block", "threshold": 0.3}},
        {"site": "guidance", "policy": {"kind": "interval", "interval": 2}},
        {"site": {"kind": "deep", "first": 4}, "policy": {"kind": "interval", "interval": 2}},
    ],
    ids=["model", "first_block", "guidance", "above"],
)
def test_caches_on_top(family: TinyFamily, cache: dict[str, Any]) -> None:
    pipe = family.pipeline(num_layers=LAYERS, dtype=torch.float64)
    train(dit_accel.accelerate(pipe, {"density": DENSITY}))
    without = family.generate(pipe)
    train(dit_accel.accelerate(pipe, {"density": DENSITY, "cache": cache}))
    got = family.generate(pipe)
    assert not torch.equal(got, without) and got.isfinite().all()
    assert set(modes(pipe)) != {"all"}
    assert (got - without).norm() < without.norm()


def test_a_cache_that_starts_anew_when_the_grid_changes_forecasts_of_one_grid_alone() -> None:
    family = FAMILIES["dit"]
    cache = {"site": "model", "policy": {"kind": "list", "compute": [0, 1, 3, 5]}}
    transformer = build(family, cache=cache | {"predictor": {"kind": "polynomial", "order": 1}})
    grids = []
    with dit_accel.run(transformer, 6):
        for _ in family.steps_of(transformer, steps=6):
            installation = installation_of(transformer)
            assert installation is not None
            (run_state,) = installation._caches._runs.values()
            timeline = run_state.memory.timelines[0]
            grids.append((str(timeline.grid), timeline.steps))
    assert grids[:5] == [
        *(("2x4", (0,)), ("2x4", (1, 0)), ("2x4", (1, 0)), ("4x4", (3,)), ("4x4", (3,)))
    ]


@pytest.mark.parametrize(
    "site",
    ["block", {"kind": "deep", "first": 2}, {"kind": "deep", "first": 0, "last": 2}],
    ids=["block", "from_inside", "to_inside"],
)
def test_a_cache_that_cuts_a_segment_is_refused_with_its_blocks(site: Any) -> None:
    cache = {"site": site, "policy": {"kind": "interval", "interval": 2}}
    transformer = FAMILIES["dit"].transformer(LAYERS)
    with pytest.raises(PlanError, match=r"cache: it remembers blocks .*blocks 1\.\.3 that density"):
        dit_accel.accelerate(transformer, {"density": DENSITY, "cache": cache})


def test_merge_beside_it_is_refused_in_the_same_steps_alone() -> None:
    merge = {"kind": "tome2d", "ratio": 0.5}
    with pytest.raises(PlanError, match="remove tokens in the same cells"):
        dit_accel.Plan(density=DENSITY, merge=merge)
    apart = {"density": DENSITY | {"steps": [0.0, 0.5]}, "merge": merge | {"steps": [0.5, 1.0]}}
    family = FAMILIES["dit"]
    transformer = dit_accel.accelerate(family.transformer(LAYERS), apart)
    assert run(family, transformer).isfinite().all()


@pytest.mark.parametrize("grid", [[4, 4], [3, 5]], ids=["equal_cells", "unequal_cells"])
def test_an_attention_operator_acts_in_sparse_and_dense_blocks(grid: list[int]) -> None:
    family, density = FAMILIES["alpha"], DENSITY | {"grid": grid}
    operator = {"kind": "kv_downsample", "factor": 2}
    got = run(family, build(family, density=density, attention=operator))
    assert got.isfinite().all()
    assert not torch.equal(got, run(family, build(family, density=density)))


@every_family
@pytest.mark.parametrize("size", [(8, 8), (4, 12)])
def test_other_resolutions_use_the_same_parts(family: TinyFamily, size: tuple[int, int]) -> None:
    if family.name == "dit" and size != (8, 8):
        pytest.skip("square models only")
    density = DENSITY | {"grid": None, "pool": 2}
    transformer = build(family, density={k: v for k, v in density.items() if v is not None})
    first = run(family, transformer, size=size)
    run(family, transformer, size=(12, 12) if family.name != "dit" else size)
    assert torch.equal(run(family, transformer, size=size), first)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_model_may_change_its_precision_after_the_plan(dtype: torch.dtype) -> None:
    family = FAMILIES["alpha"]
    transformer = build(family)
    transformer.to(dtype)
    got = family.denoise(transformer, steps=3)
    assert got.dtype == dtype and got.isfinite().all()
    assert all(part.dtype == torch.float32 for part in learned_parts(transformer).parameters())


@every_family
def test_gradient_checkpointing_changes_no_gradient(family: TinyFamily) -> None:
    found = []
    for checkpointing in (False, True):
        transformer = build(family)
        if checkpointing:
            transformer.enable_gradient_checkpointing()
        transformer.train()
        torch.manual_seed(0)  # stock blocks drop labels, each for itself
        latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
        condition = family.condition((1, 2), torch.float32)
        for grid, timestep in (((4, 4), 800), ((3, 5), 400)):
            with fixed_density(transformer, grid):
                output = family.predict(transformer, latents, timestep, condition)
                output.square().mean().backward()
        parts = [*learned_parts(transformer).parameters(), *transformer.parameters()]
        found.append(torch.cat([p.grad.flatten() for p in parts if p.grad is not None]))
        assert all(p.grad is not None for p in learned_parts(transformer).parameters())
    torch.testing.assert_close(found[0], found[1])


def test_copies_have_weights_of_their_own_and_are_told_to_get_a_plan() -> None:
    family = FAMILIES["dit"]
    transformer = build(family)
    latents, condition = torch.randn(1, 4, 8, 8), family.condition((1,), torch.float32)
    family.predict(transformer, latents, 500, condition)  # with gradients: tokens are remembered
    for other in (copy.deepcopy(transformer), shared_copy(transformer)):
        with pytest.raises(UnsupportedError, match="copy of an accelerated one"):
            family.predict(other, latents, 500, condition)
        dit_accel.accelerate(dit_accel.restore(other), {"density": DENSITY})
        assert learned_parts(other) is not learned_parts(transformer)
        family.predict(other, latents, 500, condition)


def test_a_lora_acts_in_every_role() -> None:
    peft = pytest.importorskip("peft")
    family = FAMILIES["alpha"]
    transformer = build(family)
    expected = run(family, transformer)
    names = [name for name, _ in transformer.named_modules() if name.endswith(("to_v", "to_k"))]
    config = peft.LoraConfig(r=2, target_modules=names, init_lora_weights=False)
    torch.manual_seed(0)
    peft.inject_adapter_in_model(config, transformer)
    adapted = run(family, transformer)
    assert not torch.allclose(adapted, expected)
    lora = [p for name, p in transformer.named_parameters() if "lora_B" in name]
    latents, condition = torch.randn(1, 4, 8, 8), family.condition((1,), torch.float32)
    with fixed_density(transformer, (4, 4)):
        family.predict(transformer, latents, 500, condition).square().sum().backward()
    assert lora and all(p.grad is not None for p in lora)


class TestCompiled:
    @pytest.fixture(autouse=True)
    def _fresh_dynamo(self) -> Iterator[None]:
        torch._dynamo.reset()
        yield
        torch._dynamo.reset()

    @pytest.mark.parametrize(
        ("key", "grid"),
        [("dit", [4, 4]), pytest.param("alpha", [3, 5], marks=pytest.mark.slow)],
    )  # cells of one size and of several; each compiles for long
    def test_blocks_have_no_graph_break_and_do_not_recompile(
        self, key: str, grid: list[int]
    ) -> None:
        family, values = FAMILIES[key], [grid, [8, 8], [8, 8]]
        transformer = build(family, density=DENSITY | {"grid": {**GRIDS, "values": values}})
        eager = run(family, transformer)
        counter = CompileCounter()
        for block in transformer.transformer_blocks:
            block.compile(backend=counter, fullgraph=True)
        torch.testing.assert_close(run(family, transformer), eager)
        compiled = counter.frame_count
        run(family, transformer)
        assert counter.frame_count == compiled
