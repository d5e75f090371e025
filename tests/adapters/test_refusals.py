"""What an adapter is not put on, with both sides named and the model left as it was."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny_adapters import DENSITY, LAYER, adapter_for, bits, norm_of, same
from tiny_models import FAMILIES

import dit_accel
from dit_accel import Plan, PlanError, UnsupportedError
from dit_accel.adapters import save_adapter
from dit_accel.adapters.adapter import Adapter
from dit_accel.install import installation_of


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


def test_fused_projections_are_refused(dit, tmp_path):
    transformer = dit.transformer()
    save_adapter(adapter_for(dit, transformer), tmp_path)
    transformer.get_submodule("transformer_blocks.1.attn1").fuse_projections()
    with pytest.raises(UnsupportedError, match=r"to_q.*fused in this model"):
        dit_accel.accelerate(transformer, tmp_path)
