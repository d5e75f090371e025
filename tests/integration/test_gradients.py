"""Training through a plan: gradients flow, with gradient checkpointing and without."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plans import PLANS
from tiny_models import TinyFamily

import dit_accel


def gradients(family: TinyFamily, plan: dict[str, Any], checkpointing: bool) -> torch.Tensor:
    transformer = dit_accel.accelerate(family.transformer(), plan)
    if checkpointing:
        transformer.enable_gradient_checkpointing()
    transformer.train()
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    condition = family.condition((1, 2), torch.float32)
    for timestep in (800, 400):
        family.predict(transformer, latents, timestep, condition).square().mean().backward()
    found = [
        p.grad.flatten() for p in transformer.transformer_blocks.parameters() if p.grad is not None
    ]
    return torch.cat(found)


@pytest.mark.parametrize("name", ["pooled", "tome2d", "kv_downsample"])
def test_gradient_checkpointing_changes_no_gradient(layout: TinyFamily, name: str) -> None:
    torch.manual_seed(0)
    plain = gradients(layout, PLANS[name], checkpointing=False)
    torch.manual_seed(0)
    checkpointed = gradients(layout, PLANS[name], checkpointing=True)
    assert plain.isfinite().all() and plain.abs().max() > 0
    torch.testing.assert_close(checkpointed, plain)
