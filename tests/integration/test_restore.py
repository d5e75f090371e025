"""Taking a plan off leaves no trace, whatever else was hooked before or after."""

from __future__ import annotations

import copy
import gc
from types import MethodType
from typing import Any

import accelerate as hf_accelerate
import pytest
import torch
from accelerate.hooks import remove_hook_from_submodules
from diffusers.hooks import HookRegistry, ModelHook
from plans import PLANS
from tiny_models import FAMILIES, TinyFamily

import dit_accel
from dit_accel.install import installation_of, plan_of
from dit_accel.integration.cache_runs import CacheRuns
from dit_accel.integration.density_hooks import DensityAttentionHook, DensityBlockHook, DensityHooks
from dit_accel.integration.hooks import AttentionHook, BlockHook, FeedForwardHook, TransformerHook
from dit_accel.integration.installation import Installation
from dit_accel.integration.module_hooks import ModuleHooks
from dit_accel.integration.plan_hooks import PlanHooks
from dit_accel.integration.segment_state import SegmentState
from dit_accel.methods.caching.cache_run import CacheRun
from dit_accel.methods.caching.guidance_run import GuidanceRun
from dit_accel.methods.caching.module_run import ModuleRun
from dit_accel.methods.caching.ring import Ring
from dit_accel.methods.caching.token_run import TokenRun
from dit_accel.nn.delta_segment import DeltaSegment

PARTS = {
    Installation,
    PlanHooks,
    ModuleHooks,
    TransformerHook,
    BlockHook,
    AttentionHook,
    FeedForwardHook,
    CacheRuns,
    CacheRun,
    GuidanceRun,
    ModuleRun,
    TokenRun,
    Ring,
    DensityHooks,
    DensityBlockHook,
    DensityAttentionHook,
    SegmentState,
    DeltaSegment,
}
"""Classes of the installed machinery."""


class DoublingHook(ModelHook):
    """Somebody else's hook: doubles what a module returns."""

    def post_forward(self, module: torch.nn.Module, output: Any) -> Any:
        return 2 * output


class ReplacingHook(ModelHook):
    """Somebody else's hook that replaces `forward`, as diffusers' caches do."""

    def new_forward(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        return 0.5 * self.fn_ref.original_forward(*args, **kwargs)


def traces(target: Any) -> dict[tuple[str, str], Any]:
    """Every attribute of every submodule, and of the scheduler, one level into containers."""
    owners = dict(target.transformer.named_modules(prefix="transformer"))
    owners["scheduler"] = target.scheduler
    found: dict[tuple[str, str], Any] = {}
    for owner_name, owner in owners.items():
        for name, value in vars(owner).items():
            items = value.items() if isinstance(value, dict) else [("", value)]
            found |= {(owner_name, f"{name}.{key}"): item for key, item in items}
    return found


def same(before: Any, after: Any) -> bool:
    if before is after:
        return True
    if isinstance(before, MethodType):
        return bool(before == after)
    return type(before) is type(after) and isinstance(
        before, str | int | float | list | tuple | set
    )


def assert_same_traces(before: dict[Any, Any], after: dict[Any, Any]) -> None:
    assert after.keys() == before.keys()
    assert [key for key, value in before.items() if not same(value, after[key])] == []


def names_of_hooks(transformer: Any) -> list[list[str]]:
    """Of each module that has any, those that are called."""
    registries = [getattr(module, "_diffusers_hook", None) for module in transformer.modules()]
    found = [registry for registry in registries if registry is not None]
    assert all(len(registry.hooks) == len(registry._fn_refs) for registry in found)
    return [list(registry.hooks) for registry in found]


def alive_parts() -> list[Any]:
    """Objects of the installed machinery that are still reachable from anywhere."""
    gc.collect()
    gc.collect()  # the weak table of installations lets go of its values in the first pass
    return [item for item in gc.get_objects() if type(item) in PARTS]


def test_restore_leaves_no_hook_processor_or_attribute(
    layout: TinyFamily, plan: dict[str, Any]
) -> None:
    family, pipe = layout, layout.pipeline()
    stock = family.generate(pipe)
    before = traces(pipe)
    dit_accel.accelerate(pipe, plan)
    family.generate(pipe)
    assert traces(pipe).keys() != before.keys()
    assert dit_accel.restore(pipe) is pipe
    after = traces(pipe)
    for key in [("scheduler", f"{name}.") for name in vars(pipe.scheduler)]:
        before.pop(key, None), after.pop(key, None)  # its timesteps are of the last run
    assert_same_traces(before, after)
    assert installation_of(pipe) is None
    assert torch.equal(family.generate(pipe), stock)
    assert alive_parts() == []


def test_restore_leaves_the_scheduler_as_it_was(family: TinyFamily) -> None:
    pipe = family.pipeline()
    before = dict(vars(pipe.scheduler))
    dit_accel.accelerate(pipe, PLANS["first_block"])
    assert vars(pipe.scheduler).keys() - before.keys() == {"set_timesteps", "step"}
    dit_accel.restore(pipe)
    assert vars(pipe.scheduler) == before


def test_restore_is_harmless_where_nothing_was_installed(family: TinyFamily) -> None:
    pipe = family.pipeline()
    before = traces(pipe)
    dit_accel.restore(dit_accel.restore(pipe))
    assert_same_traces(before, traces(pipe))


def test_a_transformer_that_was_accelerated_through_its_pipeline_can_be_restored(
    family: TinyFamily,
) -> None:
    plan = PLANS["combined"]
    pipe = family.pipeline()
    before = traces(pipe)
    dit_accel.accelerate(pipe, plan)
    dit_accel.restore(pipe.transformer)
    assert_same_traces(before, traces(pipe))


def test_accelerating_again_is_idempotent(layout: TinyFamily, plan: dict[str, Any]) -> None:
    family = layout
    pipe = family.pipeline()
    before = traces(pipe)
    dit_accel.accelerate(pipe, plan)
    once_keys, once = traces(pipe).keys(), family.generate(pipe)
    hooks = names_of_hooks(pipe.transformer)
    dit_accel.accelerate(dit_accel.accelerate(pipe, plan), plan)
    assert traces(pipe).keys() >= once_keys
    assert names_of_hooks(pipe.transformer) == hooks
    assert torch.equal(family.generate(pipe), once)
    dit_accel.restore(pipe)
    assert_same_traces(
        {key: value for key, value in before.items() if key[0] != "scheduler"},
        {key: value for key, value in traces(pipe).items() if key[0] != "scheduler"},
    )


def test_another_plan_replaces_the_first(layout: TinyFamily, plan: dict[str, Any]) -> None:
    family = layout
    fresh = family.generate(dit_accel.accelerate(family.pipeline(), plan))
    pipe = dit_accel.accelerate(family.pipeline(), PLANS["combined"])
    family.generate(pipe)
    dit_accel.accelerate(pipe, plan)
    assert torch.equal(family.generate(pipe), fresh)


def test_the_empty_plan_takes_the_former_one_off(family: TinyFamily) -> None:
    pipe = family.pipeline()
    stock = family.generate(pipe)
    dit_accel.accelerate(pipe, PLANS["combined"])
    dit_accel.accelerate(pipe, {})
    assert torch.equal(family.generate(pipe), stock)


def test_the_scoped_form_restores_what_was_there(family: TinyFamily) -> None:
    pipe = family.pipeline()
    stock = family.generate(pipe)
    with dit_accel.accelerated(pipe, PLANS["pooled"]) as same_pipe:
        assert same_pipe is pipe
        with (
            pytest.raises(KeyboardInterrupt),
            dit_accel.accelerated(pipe, PLANS["interval_reuse"]),
        ):
            assert plan_of(pipe).cache is not None
            raise KeyboardInterrupt
        assert plan_of(pipe) == dit_accel.Plan.load(PLANS["pooled"])
    assert plan_of(pipe).is_empty
    assert torch.equal(family.generate(pipe), stock)


def test_a_refused_plan_leaves_the_former_one_in_place(family: TinyFamily) -> None:
    pipe = dit_accel.accelerate(family.pipeline(), PLANS["pooled"])
    before = traces(pipe)
    with pytest.raises(dit_accel.PlanError):
        dit_accel.accelerate(pipe, {"density": {"kind": "pooled", "pool": 2, "layers": [2, 9]}})
    assert plan_of(pipe) == dit_accel.Plan.load(PLANS["pooled"])
    assert_same_traces(before, traces(pipe))


def hook_everything(transformer: Any, hook: type[ModelHook], name: str) -> None:
    for part in hooked_parts(transformer):
        HookRegistry.check_if_exists_or_initialize(part).register_hook(hook(), name)


def hooked_parts(transformer: Any) -> list[Any]:
    blocks = transformer.transformer_blocks
    return [part for block in blocks for part in (block, block.attn1, block.ff)]


@pytest.mark.parametrize("hook", [DoublingHook, ReplacingHook])
@pytest.mark.parametrize("order", ["before", "after", "both"])
@pytest.mark.parametrize(("name", "key"), [("interval_polynomial", "dit"), ("combined", "alpha")])
def test_hooks_of_others_survive(name: str, key: str, hook: type[ModelHook], order: str) -> None:
    family = FAMILIES[key]

    def build(plan: Any) -> Any:
        pipe = family.pipeline()
        if order != "after":
            hook_everything(pipe.transformer, hook, "theirs")
        dit_accel.accelerate(pipe, plan)
        if order != "before":
            hook_everything(pipe.transformer, hook, "theirs too")
        return pipe

    expected = family.generate(build({}))
    pipe = build(PLANS[name])
    assert not torch.equal(family.generate(pipe), expected)
    dit_accel.restore(pipe)
    assert torch.equal(family.generate(pipe), expected)
    for part in hooked_parts(pipe.transformer):
        registry = part._diffusers_hook
        assert "dit_accel" not in registry.hooks
        for left in reversed(list(registry.hooks)):
            registry.remove_hook(left, recurse=False)
    assert torch.equal(family.generate(pipe), family.generate(family.pipeline()))


@pytest.mark.parametrize(
    ("name", "order"), [("interval_polynomial", "before"), ("combined", "after")]
)
def test_offload_hooks_of_accelerate_survive(layout: TinyFamily, name: str, order: str) -> None:
    family, plan = layout, PLANS[name]

    def offload(pipe: Any) -> None:
        hf_accelerate.cpu_offload(pipe.transformer, execution_device=torch.device("cpu"))

    reference = family.pipeline()
    stock = family.generate(reference, steps=5)
    offload(reference)
    offloaded = {key for key in traces(reference) if key[0] != "scheduler"}
    pipe = family.pipeline()
    if order == "before":
        offload(pipe)
    dit_accel.accelerate(pipe, plan)
    if order == "after":
        offload(pipe)
    accelerated = family.generate(pipe, steps=5)
    assert not torch.equal(accelerated, stock)
    dit_accel.restore(pipe)
    assert {key for key in traces(pipe) if key[0] != "scheduler"} == offloaded
    assert torch.equal(family.generate(pipe, steps=5), stock)
    remove_hook_from_submodules(pipe.transformer)
    remove_hook_from_submodules(reference.transformer)
    left, expected = traces(pipe), traces(reference)
    assert {k for k in left if k[0] != "scheduler"} == {k for k in expected if k[0] != "scheduler"}
    assert alive_parts() == []


def test_what_somebody_put_on_the_scheduler_instance_survives(family: TinyFamily) -> None:
    pipe = family.pipeline()
    steps: list[int] = []
    original = pipe.scheduler.step

    def counted(*args: Any, **kwargs: Any) -> Any:
        steps.append(1)
        return original(*args, **kwargs)

    pipe.scheduler.step = counted
    dit_accel.accelerate(pipe, PLANS["interval_reuse"])
    family.generate(pipe, steps=5)
    assert len(steps) == 5
    dit_accel.restore(pipe)
    assert pipe.scheduler.step is counted


def test_a_deep_copy_of_the_scheduler_is_not_observed(family: TinyFamily) -> None:
    pipe = dit_accel.accelerate(family.pipeline(), PLANS["interval_reuse"])
    copied = copy.deepcopy(pipe.scheduler)
    pipe.scheduler.set_timesteps(5)
    installation = installation_of(pipe)
    assert installation is not None and installation.clock.num_steps == 5
    copied.set_timesteps(9)
    assert installation.clock.num_steps == 5
    assert len(pipe.scheduler.timesteps) == 5 and len(copied.timesteps) == 9
    latents = torch.randn(1, 4, 8, 8)
    moved = copied.step(latents, copied.timesteps[0], latents).prev_sample
    assert moved.isfinite().all()
    assert installation.clock.tick(lambda: 0.0).step == 0
