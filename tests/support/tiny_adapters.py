"""An adapter of a tiny model, and whether a model's weights are those that it had."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from tiny_models import TinyFamily
from torch import nn

from dit_accel.adapters.adapter import Adapter
from dit_accel.adapters.record import AdapterRecord
from dit_accel.calibration_record import model_hash, sampled_weights

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
