"""A LoRA injected through peft, before or after the plan."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import TinyFamily

import dit_accel

peft = pytest.importorskip("peft")


def add_lora(transformer: Any) -> None:
    config = peft.LoraConfig(
        r=2, target_modules=["to_q", "to_k", "to_out.0", "proj"], init_lora_weights=False
    )
    torch.manual_seed(11)
    peft.inject_adapter_in_model(config, transformer)


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_lora_acts_whether_it_came_before_or_after_the_plan(
    layout: TinyFamily, telling_plan: dict[str, Any], order: str
) -> None:
    without = layout.generate(dit_accel.accelerate(layout.pipeline(), telling_plan))
    reference = layout.pipeline()
    add_lora(reference.transformer)
    stock = layout.generate(reference)
    expected = layout.generate(dit_accel.accelerate(reference, telling_plan))
    pipe = layout.pipeline()
    if order == "before":
        add_lora(pipe.transformer)
    dit_accel.accelerate(pipe, telling_plan)
    if order == "after":
        add_lora(pipe.transformer)
    accelerated = layout.generate(pipe)
    assert torch.equal(accelerated, expected)
    assert not torch.equal(accelerated, without)
    dit_accel.restore(pipe)
    assert torch.equal(layout.generate(pipe), stock)


def test_a_lora_injected_by_peft_itself_can_be_switched_off(layout: TinyFamily) -> None:
    plan = {"attention": {"kind": "kv_downsample", "factor": 2}}
    pipe = dit_accel.accelerate(layout.pipeline(), plan)
    expected = layout.generate(pipe)
    config = peft.LoraConfig(r=2, target_modules=["to_k", "to_v"], init_lora_weights=False)
    peft.inject_adapter_in_model(config, pipe.transformer)
    adapted = layout.generate(pipe)
    assert not torch.equal(adapted, expected)
    for module in pipe.transformer.modules():
        if hasattr(module, "enable_adapters"):
            module.enable_adapters(False)
    assert torch.equal(layout.generate(pipe), expected)
