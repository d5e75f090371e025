"""Exact rewrites beside the rest: restore, adapters, host reads, MACs, what is said of them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import accelerate as hf_accelerate
import pytest
import torch
from diffusers.hooks import HookRegistry, ModelHook
from exact_runs import TOLERANCE, distance
from plans import PLANS
from tiny_models import FAMILIES, noise

import dit_accel
from dit_accel.exact.config import Exact
from dit_accel.measure.architectures import Architecture, load_architecture
from dit_accel.measure.explain import explain
from dit_accel.measure.macs import count_macs
from dit_accel.measure.plan_macs import Workload, run_cost
from dit_accel.reporting.explain_table import explain_table

EVERYTHING = {"exact": {"compile": True}}
PAIRS: dict[str, Any] = {
    "exact": {"exact": True},
    "with all": {**PLANS["combined"], "exact": True},
    "merge": {**PLANS["tome2d"], "exact": True},
}


def attributes(target: Any) -> dict[tuple[str, str], Any]:
    """Every attribute of every submodule, one level into dicts; methods and numbers by value."""
    owners = {
        f"{part}.{name}": module
        for part in ("transformer", "vae")
        for name, module in getattr(target, part).named_modules()
    }
    return {
        (owner, f"{name}.{key}"): id(item) if isinstance(item, torch.Tensor) else type(item)
        for owner, module in owners.items()
        for name, value in vars(module).items()
        for key, item in (value.items() if isinstance(value, dict) else [("", value)])
        if name != "decoded"
    }


def alive_parts() -> int:
    """Objects of the installed machinery that are still reachable from anywhere."""
    gc.collect()
    gc.collect()  # the weak table of installations lets go of its values in the first pass
    families = ("dit_accel.exact", "dit_accel.integration")
    modules = (str(type(item).__module__) for item in gc.get_objects() if type(item) is not Exact)
    return sum(module.startswith(families) for module in modules)


@pytest.mark.parametrize("plan", [*PAIRS.values(), EVERYTHING], ids=[*PAIRS, "compile"])
def test_restore_leaves_no_trace(family: Any, plan: Any) -> None:
    alive, pipe = alive_parts(), family.pipeline()
    stock = family.generate(pipe)
    before = attributes(pipe)
    dit_accel.accelerate(pipe, plan)
    if plan is not EVERYTHING:
        family.generate(pipe)
    assert attributes(pipe) != before
    dit_accel.restore(pipe)
    assert attributes(pipe) == before
    assert torch.equal(family.generate(pipe), stock)
    assert alive_parts() == alive


def test_a_pipeline_that_is_let_go_takes_its_plan_along(family: Any) -> None:
    alive = alive_parts()
    family.generate(dit_accel.accelerate(family.pipeline(), {"exact": True}))
    family.denoise(dit_accel.accelerate(family.transformer(), {"exact": True}))
    assert alive_parts() == alive


class Doubling(ModelHook):
    def post_forward(self, module: Any, output: Any) -> Any:
        return 2 * output


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("inner", ["attn1.to_q", "attn1", "norm1", "ff", "attn2.to_k"])
def test_hooks_of_others_act(family: Any, order: str, inner: str) -> None:
    def hook(transformer: Any) -> None:
        for block in transformer.transformer_blocks:
            if inner.startswith("attn2") and block.attn2 is None:
                continue
            part = block.get_submodule(inner)
            if inner == "norm1" and family.name == "dit":
                part = part.norm  # its output is no tensor
            HookRegistry.check_if_exists_or_initialize(part).register_hook(Doubling(), "theirs")

    reference, pipe = family.pipeline(), family.pipeline()
    hook(reference.transformer)
    stock = family.generate(reference)
    if order == "before":
        hook(pipe.transformer)
    dit_accel.accelerate(pipe, {"exact": True})
    if order == "after":
        hook(pipe.transformer)
    assert distance(stock, family.generate(pipe)) <= TOLERANCE
    dit_accel.restore(pipe)
    assert torch.equal(stock, family.generate(pipe))


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("targets", [["to_q"], ["to_k", "to_v"], ["linear", "linear_1", "proj"]])
def test_adapters_act(family: Any, order: str, targets: list[str]) -> None:
    peft = pytest.importorskip("peft")

    def adapt(transformer: Any) -> None:
        torch.manual_seed(11)
        config = peft.LoraConfig(r=2, target_modules=targets, init_lora_weights=False)
        peft.inject_adapter_in_model(config, transformer)

    reference, pipe = family.pipeline(), family.pipeline()
    plain = family.generate(reference)
    adapt(reference.transformer)
    adapted = family.generate(reference)
    if order == "before":
        adapt(pipe.transformer)
    dit_accel.accelerate(pipe, {"exact": True})
    if order == "after":
        assert distance(plain, family.generate(pipe)) <= TOLERANCE
        adapt(pipe.transformer)
    assert distance(adapted, family.generate(pipe)) <= TOLERANCE < distance(plain, adapted)
    for module in pipe.transformer.modules():
        if hasattr(module, "enable_adapters"):
            module.enable_adapters(False)
    assert distance(plain, family.generate(pipe)) <= TOLERANCE


@pytest.mark.parametrize("order", ["before", "after"])
def test_offloaded_weights(layout: Any, order: str) -> None:
    stock, pipe = layout.generate(layout.pipeline()), layout.pipeline()
    if order == "after":
        dit_accel.accelerate(pipe, {"exact": True})
    hf_accelerate.cpu_offload(pipe.transformer, execution_device=torch.device("cpu"))
    if order == "before":
        dit_accel.accelerate(pipe, {"exact": True})
    for _ in range(2):
        assert distance(stock, layout.generate(pipe)) <= TOLERANCE
    dit_accel.restore(pipe)
    assert torch.equal(stock, layout.generate(pipe))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    counted: list[str] = []
    for owner, name in ((torch.Tensor, "tolist"), (torch.Tensor, "item"), (torch, "equal")):
        original = getattr(owner, name)

        def read(*args: Any, _original: Any = original, _name: str = name) -> Any:
            counted.append(_name)
            return _original(*args)

        monkeypatch.setattr(owner, name, read)
    yield counted


def test_a_pipeline_on_one_device_reads_nothing_in_the_loop(
    layout: Any, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but whether guidance rows are equal, which is asked of the CPU alone."""
    pipe = layout.pipeline()
    dit_accel.accelerate(pipe, {"exact": {"guidance_rows": False}})
    pipe.scheduler.set_timesteps(6)
    condition = layout.condition((1, 2), torch.float32)
    latents, counts = noise((1, 2), (8, 8), torch.float32), []
    with torch.no_grad():
        for timestep in pipe.scheduler.timesteps:
            before = len(reads)
            output = pipe.transformer(latents, timestep=timestep.expand(2), **condition).sample
            counts.append(len(reads) - before)
            latents = pipe.scheduler.step(output[:, :4], timestep, latents).prev_sample
    assert counts[1:] == [0] * 5 and counts[0] <= 16


def test_timesteps_of_ones_own_cost_one_read_a_forward(layout: Any, reads: list[str]) -> None:
    transformer = dit_accel.accelerate(layout.transformer(), {"exact": {"guidance_rows": False}})
    condition = layout.condition((1, 2), torch.float32)
    latents = noise((1, 2), (8, 8), torch.float32)
    counts = []
    with dit_accel.run(transformer, 4), torch.no_grad():
        for step in (900, 600, 300, 0):
            before = len(reads)
            transformer(latents, timestep=torch.full((2,), float(step)), **condition)
            counts.append(len(reads) - before)
    # The other one is of a host tensor: the upcoming timesteps in the dtype of the argument.
    assert max(counts[1:]) <= 2


def architecture_of(transformer: Any) -> Architecture:
    return Architecture("tiny", type(transformer), dict(transformer.config))


@pytest.mark.parametrize("name", ["exact", "with interval", "with tome2d"])
def test_macs_are_those_of_a_real_run(layout: Any, name: str) -> None:
    plans = {
        "exact": {},
        "with interval": PLANS["interval_polynomial"],
        "with tome2d": PLANS["tome2d"],
    }
    plan = dit_accel.Plan.load({**plans[name], "exact": True})
    transformer = layout.transformer()
    architecture = architecture_of(transformer)
    size = (8, 8)
    condition = layout.guided_condition((1, 2), torch.float32)
    cost = run_cost(architecture, plan, Workload(6, 2, True, size, 5))
    latents = noise((1, 2), size, torch.float32).repeat(2, 1, 1, 1)
    dit_accel.accelerate(transformer, plan)
    with count_macs() as counter, dit_accel.run(transformer, 6, guidance=True):
        for step in range(6):
            layout.predict(transformer, latents, 900 - 100 * step, condition)
    # On the meta device all rows count as distinct, here the negative rows are equal.
    assert counter.total <= cost.macs_plan <= 1.01 * counter.total
    without = dit_accel.Plan.load(plans[name])
    assert cost.macs_plan < run_cost(architecture, without, Workload(6, 2, True, size, 5)).macs_plan


def test_macs_of_dit_xl_and_pixart_by_formula() -> None:
    """docs/exact.md: the formulas, for one step of one row at a time."""
    tokens, width, layers, steps = 256, 1152, 28, 2
    dit = load_architecture("DiT-XL-2-256")
    workload = Workload(steps, 1, guided=False)
    cost = run_cost(dit, dit_accel.Plan.load("exact"), workload)
    embedder = 256 * width + width**2
    # Stock calls an embedder in each block and once more for the head; so does this, but for the
    # head, where the weights of the blocks differ (they count as such on the meta device).
    assert cost.macs_dense - cost.macs_plan == steps * embedder
    pixart, text = load_architecture("PixArt-XL-2-512"), 120
    workload = Workload(steps, 1, guided=False, text_tokens=text)
    cost = run_cost(pixart, dit_accel.Plan.load("exact"), workload)
    projection = text * (4096 * width + width**2)
    keys_values = layers * 2 * text * width**2
    assert cost.macs_dense - cost.macs_plan == (steps - 1) * (projection + keys_values)
    assert tokens == 256


def test_it_is_said(layout: Any) -> None:
    from rich.console import Console

    pipe = dit_accel.accelerate(layout.pipeline(), "exact")
    layout.generate(pipe)
    summary = dit_accel.summary(pipe)
    text = "text_keys_values, " if layout.name == "alpha" else ""
    expected = f"exact      modulations, {text}guidance_rows, fused_projections, channels_last"
    assert expected in str(summary)
    assert summary.macs is not None and summary.macs_dense is not None
    assert summary.macs < summary.macs_dense
    console = Console(record=True, width=200)
    explanation = explain(
        architecture_of(pipe.transformer), dit_accel.Plan.load("exact"), Workload(4)
    )
    console.print(explain_table(explanation))
    assert "modulations, text_keys_values, guidance_rows" in console.export_text()


def test_meta_device(layout: Any) -> None:
    transformer = dit_accel.accelerate(layout.transformer().to("meta"), {"exact": True})
    condition = FAMILIES[layout.name].guided_condition((1, 2), torch.float32)

    def moved(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: moved(item) for key, item in value.items()}
        return value.to("meta") if torch.is_tensor(value) else value

    with torch.no_grad(), dit_accel.run(transformer, 3):
        for _ in range(3):
            latents, timestep = torch.empty(4, 4, 8, 8), torch.empty(4)
            output = transformer(moved(latents), timestep=moved(timestep), **moved(condition))
            assert output.sample.device.type == "meta"
