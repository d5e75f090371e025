"""An adapter on a model: what it changes, and that nothing is left of it."""

from __future__ import annotations

import copy
import dataclasses
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_adapters import DENSITY, LAYER, adapter_for, bits, norm_of, same
from tiny_models import FAMILIES, TinyFamily, every_family
from torch import nn

import dit_accel
from dit_accel import Plan, PlanError
from dit_accel.adapters import load_adapter, save_adapter
from dit_accel.adapters.adapter import Adapter
from dit_accel.adapters.record import AdapterRecord
from dit_accel.install import at_step


def test_a_file_says_what_was_saved(dit, tmp_path: Path):
    adapter = adapter_for(dit, dit.transformer())
    path = save_adapter(adapter, tmp_path / "a")
    for source in (path, tmp_path / "a", str(path)):
        again = load_adapter(source)
        assert again.record == adapter.record
        torch.testing.assert_close(dict(again.tensors), adapter.tensors, atol=0, rtol=0)
    assert save_adapter(again, tmp_path / "b").read_bytes() == path.read_bytes()
    plan = Plan.load(tmp_path / "a")
    assert plan.adapter == str(path)
    assert plan.model_copy(update={"adapter": None}) == Plan.load(DENSITY)
    card = (tmp_path / "a" / "README.md").read_text()
    assert "tiny dit" in card and "relative_error | 0.125" in card and "pooled" in card


@every_family
def test_it_is_the_model_with_these_weights(family: TinyFamily, tmp_path: Path):
    by_hand = family.transformer()
    adapter = adapter_for(family, by_hand)
    save_adapter(adapter, tmp_path)
    pipe = family.pipeline()
    before, parameters = bits(pipe.transformer), list(pipe.transformer.parameters())
    stock = family.generate(pipe)
    with torch.no_grad():
        by_hand.get_parameter(norm_of(family)).add_(0.1)
        low_rank = adapter.tensors[f"lora.{LAYER}.up"] @ adapter.tensors[f"lora.{LAYER}.down"]
        by_hand.get_submodule(LAYER).weight.add_(low_rank)
    expected = family.generate(dit_accel.accelerate(family.pipeline(transformer=by_hand), DENSITY))
    dit_accel.accelerate(pipe, tmp_path)
    assert torch.equal(family.generate(pipe), expected)
    dit_accel.restore(pipe)
    assert same(pipe.transformer, before)
    assert all(a is b for a, b in zip(pipe.transformer.parameters(), parameters, strict=True))
    assert torch.equal(family.generate(pipe), stock)


def test_another_plan_takes_its_place_and_the_same_one_stays(dit, tmp_path):
    transformer = dit.transformer()
    before = bits(transformer)
    save_adapter(adapter_for(dit, transformer), tmp_path)
    for _ in range(2):  # the second is checked against the weights below the first
        dit_accel.accelerate(transformer, tmp_path)
        assert not same(transformer, before)
    with dit_accel.accelerated(transformer, DENSITY):
        assert same(transformer, before)
    assert not same(transformer, before)
    dit_accel.accelerate(transformer, {})
    assert same(transformer, before)


def test_pipelines_that_share_their_weights_do_not_share_it(dit, tmp_path):
    from dit_accel.sampling.variants import shared_copy

    transformer = dit.transformer()
    other = shared_copy(transformer)
    before = bits(other)
    save_adapter(adapter_for(dit, transformer), tmp_path)
    dit_accel.accelerate(transformer, tmp_path)
    assert same(other, before)


def test_a_deep_copy_goes_back_to_the_stock_weights_too(dit, tmp_path):
    transformer = dit.transformer()
    before = bits(transformer)
    save_adapter(adapter_for(dit, transformer), tmp_path)
    adapted = bits(dit_accel.accelerate(transformer, tmp_path))
    for plan in ({}, DENSITY, tmp_path):  # put on without a word of restore
        copied = copy.deepcopy(transformer)
        assert same(copied, adapted)
        dit_accel.accelerate(copied, plan)
        assert same(copied, adapted if plan is tmp_path else before)
        dit_accel.restore(copied)
        assert same(copied, before) and vars(copied).keys() == vars(dit.transformer()).keys()
    assert same(transformer, adapted)  # copies have weights of their own
    dit_accel.restore(transformer)
    assert same(transformer, before) and vars(transformer).keys() == vars(copied).keys()


def test_a_scoped_plan_reads_no_file_again(dit, tmp_path):
    transformer = dit.transformer()
    path = save_adapter(adapter_for(dit, transformer), tmp_path)
    adapted = bits(dit_accel.accelerate(transformer, tmp_path))
    path.unlink()
    with dit_accel.accelerated(transformer, DENSITY):
        assert not same(transformer, adapted)
    assert same(transformer, adapted)


def test_learned_parts_are_filled_by_name():
    parts = nn.ModuleDict({"a": nn.Linear(2, 2)})
    wanted = {f"learned.a.{name}": torch.randn_like(t) for name, t in parts.a.state_dict().items()}
    record = AdapterRecord(plan={}, base="b", model="m", weights=(), trains="new", steps=1)
    Adapter(record, wanted).fill(parts)
    assert all(torch.equal(parts.state_dict()[k[8:]], v) for k, v in wanted.items())
    with pytest.raises(PlanError, match=r"a.bias of the plan's learned parts is not in it"):
        Adapter(record, {"learned.a.weight": wanted["learned.a.weight"]}).fill(parts)


def test_restore_follows_the_model_to_another_type(dit, tmp_path):
    transformer = dit.transformer()
    expected = copy.deepcopy(transformer).to(torch.bfloat16).state_dict()
    save_adapter(adapter_for(dit, transformer), tmp_path)
    dit_accel.accelerate(transformer, tmp_path)
    transformer.to(torch.bfloat16)
    dit_accel.restore(transformer)
    assert same(transformer, expected)


@every_family
def test_steps_that_the_plan_leaves_alone_are_the_base_models(family: TinyFamily, tmp_path: Path):
    transformer = family.transformer()
    save_adapter(adapter_for(family, transformer), tmp_path)
    half = {"density": {**DENSITY["density"], "steps": [0, 2]}, "adapter": str(tmp_path)}
    latents, condition = torch.randn(2, 4, 8, 8), family.condition((1, 2), torch.float32)

    def outputs(plan: Any) -> list[torch.Tensor]:
        found = []
        with torch.no_grad(), dit_accel.accelerated(transformer, plan):
            for step in (0, 3, 1, 2):
                with at_step(transformer, step, 4):
                    found.append(family.predict(transformer, latents, 500, condition))
        return found

    stock, always, found = (outputs(plan) for plan in ({}, tmp_path, half))
    assert all(torch.equal(found[place], always[place]) for place in (0, 2))
    assert all(torch.equal(found[place], stock[place]) for place in (1, 3))
    assert not torch.equal(stock[0], always[0])
    exact = outputs(half | {"exact": True})
    torch.testing.assert_close(exact, found, atol=1e-4, rtol=1e-4)


def test_it_is_taken_off_whichever_weights_are_in_place(dit, tmp_path):
    transformer = dit.transformer()
    save_adapter(adapter_for(dit, transformer), tmp_path)
    before, parameters = bits(transformer), list(transformer.parameters())
    half = {"density": {**DENSITY["density"], "steps": [0, 2]}, "adapter": str(tmp_path)}
    for steps in (2, 4):  # ends with a sparse step, and with a dense one
        dit_accel.accelerate(transformer, half)
        dit.denoise(transformer, steps=steps)
        copied = copy.deepcopy(transformer)
        for each in (copied, transformer):
            dit_accel.restore(each)
            assert same(each, before)
        assert all(a is b for a, b in zip(transformer.parameters(), parameters, strict=True))


def test_one_in_memory_takes_the_place_of_the_plans(dit, tmp_path):
    transformer = dit.transformer()
    adapter = adapter_for(dit, transformer)
    save_adapter(adapter, tmp_path)
    from_file = dit.denoise(dit_accel.accelerate(transformer, tmp_path))
    in_memory = dit.denoise(dit_accel.accelerate(transformer, DENSITY, adapter=adapter))
    assert torch.equal(in_memory, from_file)


def test_exact_rewrites_and_a_lora_of_the_users_work_on_top(dit, tmp_path):
    import peft

    transformer = dit.transformer()
    before = bits(transformer)
    save_adapter(adapter_for(dit, transformer), tmp_path)
    plain = dit.denoise(dit_accel.accelerate(transformer, tmp_path))
    document = {**Plan.load(tmp_path).to_dict(), "exact": True}
    exact = dit.denoise(dit_accel.accelerate(transformer, document))
    torch.testing.assert_close(exact, plain, atol=1e-4, rtol=1e-4)
    dit_accel.restore(transformer)
    assert same(transformer, before)
    config = peft.LoraConfig(r=2, target_modules=["to_q"])  # starts as no change
    peft.inject_adapter_in_model(config, transformer)
    with_lora = dit.denoise(dit_accel.accelerate(transformer, tmp_path))
    torch.testing.assert_close(with_lora, plain)


def test_it_does_not_keep_the_transformer_alive(tmp_path):
    family = FAMILIES["sigma"]
    transformer = family.transformer()
    adapter = adapter_for(family, transformer)
    tensors = {"base.scale_shift_table": transformer.scale_shift_table.detach() + 1}
    save_adapter(dataclasses.replace(adapter, tensors=tensors), tmp_path)
    dit_accel.accelerate(transformer, tmp_path)
    gone = weakref.ref(transformer)
    del transformer
    gc.collect()
    assert gone() is None


def test_the_meta_device_needs_no_weights(dit, tmp_path):
    transformer = dit.transformer()
    save_adapter(adapter_for(dit, transformer), tmp_path)
    with torch.device("meta"):
        empty = dit.build(len(transformer.transformer_blocks))
    dit_accel.accelerate(empty, tmp_path)
    assert all(parameter.is_meta for parameter in empty.parameters())
