"""An adapter on a model: what it changes, what it refuses, and that nothing is left of it."""

from __future__ import annotations

import copy
import dataclasses
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import FAMILIES, TinyFamily, every_family
from torch import nn

import dit_accel
from dit_accel import Plan, PlanError, UnsupportedError
from dit_accel.adapters import load_adapter, save_adapter
from dit_accel.adapters.adapter import Adapter
from dit_accel.adapters.record import AdapterRecord
from dit_accel.calibration_record import model_hash, sampled_weights
from dit_accel.install import installation_of

DENSITY = {"density": {"kind": "pooled", "pool": 2, "layers": [1, 3]}}
LAYER = "transformer_blocks.1.attn1.to_q"
NORM = {"dit": "transformer_blocks.1.norm1.linear.weight"}


def norm_of(family: TinyFamily) -> str:
    return NORM.get(family.name, "transformer_blocks.1.scale_shift_table")


def adapter_for(family: TinyFamily, transformer: Any, **changes: Any) -> Adapter:
    """One full parameter and one low-rank change."""
    generator = torch.Generator().manual_seed(1)
    name = norm_of(family)
    width = transformer.get_submodule(LAYER).weight.shape[0]
    tensors = {
        f"base.{name}": transformer.get_parameter(name).detach() + 0.1,
        f"lora.{LAYER}.down": torch.randn(2, width, generator=generator),
        f"lora.{LAYER}.up": 0.1 * torch.randn(width, 2, generator=generator),
    }
    record = AdapterRecord(
        plan=DENSITY,
        base=f"tiny {family.name}",
        model=model_hash(transformer),
        weights=sampled_weights(transformer),
        trains="lora",
        steps=3,
        recipe={"seed": 0},
        versions={"torch": "2"},
        score={"relative_error": 0.125},
    )
    return dataclasses.replace(Adapter(record, tensors), **changes)


def bits(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    now = model.state_dict()
    return now.keys() == before.keys() and all(torch.equal(now[name], before[name]) for name in now)


@pytest.fixture
def dit() -> TinyFamily:
    return FAMILIES["dit"]


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


def test_a_wrong_base_is_refused_with_both_sides_named(dit, tmp_path):
    adapter = adapter_for(dit, dit.transformer())
    save_adapter(adapter, tmp_path)
    others = {
        r"trained on tiny dit .*this is a DiTTransformer2DModel with 6 blocks": dit.transformer(6),
        r"trained on tiny dit .*PixArtTransformer2DModel": FAMILIES["alpha"].transformer(),
        r"trained on tiny dit, but the weights of this .*are others": dit.transformer(seed=5),
    }
    for message, transformer in others.items():
        before = bits(transformer)
        dit_accel.accelerate(transformer, {"density": {"kind": "pooled", "pool": 4}})
        former = installation_of(transformer)
        with pytest.raises(PlanError, match=message):
            dit_accel.accelerate(transformer, tmp_path)
        # not even the plan that was there has been touched
        assert installation_of(transformer) is former
        assert same(transformer, before)


def test_a_layout_of_another_depth_says_that_the_adapter_is_another_models(dit, tmp_path):
    """The plan is checked before any adapter is looked for."""
    layout = {"bottom": 1, "segments": 2, "group": [0, 3, 0, 1], "dense": 1}
    density = {"kind": "sparse", "pool": 2, "layout": layout}
    message = r"= 10 blocks, expected 4[^\n]*\n.*adapter: dit-photos/density was .*dit-accel train"
    with pytest.raises(PlanError, match=message):
        dit_accel.accelerate(
            dit.transformer(), {"density": density, "adapter": "dit-photos/density"}
        )


def test_wrong_shapes_and_names_are_refused(dit):
    transformer = dit.transformer()
    before = bits(transformer)
    good = adapter_for(dit, transformer)
    wrong = {
        r"norm1.linear.weight is \[3, 3\] in the adapter and \[192, 32\]": {
            f"base.{norm_of(dit)}": torch.zeros(3, 3)
        },
        "this model has no transformer_blocks.9.ff.weight": {
            "base.transformer_blocks.9.ff.weight": torch.zeros(1)
        },
        r"to_q.weight is \[32, 5\] in the adapter and \[32, 32\]": {
            f"lora.{LAYER}.down": torch.zeros(2, 5),
            f"lora.{LAYER}.up": torch.zeros(32, 2),
        },
        'it was trained for density.kind "sparse", but the plan.s is "pooled"': None,
    }
    for message, tensors in wrong.items():
        if tensors is None:
            sparse = {"density": {"kind": "sparse", "pool": 2}}
            record = good.record.model_copy(update={"plan": sparse})
            bad = Adapter(record, {"learned.a": torch.zeros(1)})
        else:
            bad = dataclasses.replace(good, tensors=tensors)
        with pytest.raises(PlanError, match=message):
            bad.check(transformer, Plan.load(DENSITY))
    assert same(transformer, before)


def test_learned_parts_that_do_not_fit_leave_a_stock_model(dit, tmp_path):
    transformer = dit.transformer()
    before = bits(transformer)
    adapter = adapter_for(dit, transformer)
    tensors = {**adapter.tensors, "learned.segment.weight": torch.zeros(2)}
    save_adapter(dataclasses.replace(adapter, tensors=tensors), tmp_path)
    with pytest.raises(PlanError, match=r"segment.weight is \[2\] in the adapter and not there"):
        dit_accel.accelerate(transformer, tmp_path)
    assert installation_of(transformer) is None
    assert same(transformer, before)


def test_learned_parts_are_filled_by_name():
    parts = nn.ModuleDict({"a": nn.Linear(2, 2)})
    wanted = {f"learned.a.{name}": torch.randn_like(t) for name, t in parts.a.state_dict().items()}
    record = AdapterRecord(plan={}, base="b", model="m", weights=(), trains="new", steps=1)
    Adapter(record, wanted).fill(parts)
    assert all(torch.equal(parts.state_dict()[k[8:]], v) for k, v in wanted.items())
    with pytest.raises(PlanError, match=r"a.bias of the plan's learned parts is not in it"):
        Adapter(record, {"learned.a.weight": wanted["learned.a.weight"]}).fill(parts)


def test_fused_projections_are_refused(dit, tmp_path):
    transformer = dit.transformer()
    save_adapter(adapter_for(dit, transformer), tmp_path)
    transformer.get_submodule("transformer_blocks.1.attn1").fuse_projections()
    with pytest.raises(UnsupportedError, match=r"to_q.*fused in this model"):
        dit_accel.accelerate(transformer, tmp_path)


def test_restore_follows_the_model_to_another_type(dit, tmp_path):
    transformer = dit.transformer()
    expected = copy.deepcopy(transformer).to(torch.bfloat16).state_dict()
    save_adapter(adapter_for(dit, transformer), tmp_path)
    dit_accel.accelerate(transformer, tmp_path)
    transformer.to(torch.bfloat16)
    dit_accel.restore(transformer)
    assert same(transformer, expected)


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
