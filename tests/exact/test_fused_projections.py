"""Fused projections: one product, the model's own parameters untouched, and never stale weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from exact_runs import TOLERANCE, distance, rows_through
from plans import PLANS
from tiny_models import NUM_LAYERS

import dit_accel

ONLY: dict[str, Any] = {
    "exact": dict.fromkeys(
        ("modulations", "text_keys_values", "guidance_rows", "channels_last"), False
    )
}


def test_no_projection_runs_by_itself(family: Any) -> None:
    transformer = family.transformer()
    stock = family.denoise(family.transformer())
    state = {name: (id(p), p.data_ptr()) for name, p in transformer.named_parameters()}
    keys = list(transformer.state_dict())
    blocks = transformer.transformer_blocks
    own = [rows_through(m) for b in blocks for m in (b.attn1.to_q, b.attn1.to_k, b.attn1.to_v)]
    if family.name != "dit":
        own += [rows_through(m) for b in blocks for m in (b.attn2.to_k, b.attn2.to_v)]
    dit_accel.accelerate(transformer, ONLY)
    assert distance(stock, family.denoise(transformer)) <= TOLERANCE
    assert own == [[]] * len(own)
    assert list(transformer.state_dict()) == keys
    dit_accel.restore(transformer)
    assert {name: (id(p), p.data_ptr()) for name, p in transformer.named_parameters()} == state


def test_bytes_of_the_copies(dit: Any) -> None:
    pipe = dit_accel.accelerate(dit.pipeline(), ONLY)
    dit.generate(pipe)
    assert dit_accel.summary(pipe).exact_bytes == NUM_LAYERS * 3 * (32 * 32 + 32) * 4


@pytest.mark.parametrize("change", ["in place", "data", "unmarked", "load", "replaced"])
def test_weights_that_change(family: Any, change: str) -> None:
    transformer, other = family.transformer(), family.transformer(seed=5)
    dit_accel.accelerate(transformer, ONLY)
    family.denoise(transformer)
    if change == "load":
        transformer.load_state_dict(other.state_dict())
    for block, its in zip(transformer.transformer_blocks, other.transformer_blocks, strict=True):
        with torch.no_grad():
            if change == "in place":
                block.attn1.to_k.weight.mul_(0.5)
            elif change == "data":
                block.attn1.to_k.weight.data = its.attn1.to_k.weight.data
            elif change == "unmarked":
                block.attn1.to_k.weight.data.mul_(0.5)
            elif change == "replaced":
                block.attn1.to_v = its.attn1.to_v
    changed = family.denoise(transformer)
    dit_accel.restore(transformer)
    assert distance(family.denoise(transformer), changed) <= TOLERANCE


def test_a_dtype_that_changes(family: Any) -> None:
    transformer = dit_accel.accelerate(family.transformer(), ONLY)
    family.denoise(transformer)
    transformer.to(torch.float64)
    stock = family.denoise(family.transformer().to(torch.float64))
    assert distance(stock, family.denoise(transformer)) <= 1e-12


def test_cells_whose_keys_come_from_other_tokens_stay_apart(dit: Any) -> None:
    transformer = dit.transformer()
    rows = rows_through(transformer.transformer_blocks[1].attn1.to_q)
    plan = {"attention": {"kind": "kv_downsample", "factor": 2, "steps": [0, 2]}}
    dit_accel.accelerate(transformer, {**plan, **ONLY})
    with dit_accel.run(transformer, 4):
        dit.denoise(transformer, (1,), 4)
    assert rows == [2, 2]


def test_projections_without_a_bias_of_their_own(dit: Any) -> None:
    """Layers that are not alike are left alone."""
    transformer = dit.transformer()
    transformer.transformer_blocks[0].attn1.to_k.bias = None
    rows = rows_through(transformer.transformer_blocks[0].attn1.to_k)
    stock = dit.denoise(transformer, steps=2)
    dit_accel.accelerate(transformer, ONLY)
    assert distance(stock, dit.denoise(transformer, steps=2)) <= TOLERANCE
    assert len(rows) == 4


def test_beside_all_methods(family: Any) -> None:
    plain = dit_accel.accelerate(family.transformer(), PLANS["combined"])
    fused = dit_accel.accelerate(family.transformer(), {**PLANS["combined"], **ONLY})
    assert distance(family.denoise(plain), family.denoise(fused)) <= TOLERANCE
