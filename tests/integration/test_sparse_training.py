"""Density segments that are trained: whatever came before, and in mixed precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plans import SPARSE
from tiny_models import FAMILIES, TinyFamily, every_family
from torch.utils.checkpoint import checkpoint

import dit_accel
from dit_accel.errors import UnsupportedError
from dit_accel.learned_parts import fixed_density, learned_parts

NOT_DIVIDING = (3, 5)


def predict(family: TinyFamily, transformer: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 4, 8, 8, generator=generator)
    return family.predict(transformer, latents, 500, family.condition((1, 2), torch.float32))


def gradients(family: TinyFamily, transformer: Any, autocast: bool = False) -> torch.Tensor:
    """Of all learned parts, `[P]`."""
    with (
        fixed_density(transformer, NOT_DIVIDING),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        predict(family, transformer).float().square().mean().backward()
    found = [parameter.grad for parameter in learned_parts(transformer).parameters()]
    return torch.cat([each.flatten() for each in found if each is not None])


@pytest.mark.parametrize("form", ["delta", "paper"])
@every_family
def test_parts_that_began_in_inference_mode_can_be_trained(family: TinyFamily, form: str) -> None:
    """So can the maps and embeddings of a grid, which a run in it has made."""
    plan = {"density": SPARSE | {"form": form}}
    expected = gradients(family, dit_accel.accelerate(family.transformer(), plan))
    transformer = family.transformer()
    with torch.inference_mode():
        dit_accel.accelerate(transformer, plan)
        with fixed_density(transformer, NOT_DIVIDING):
            predict(family, transformer)
    parts = list(learned_parts(transformer).parameters())
    assert not any(part.is_inference() for part in parts)
    assert all(part.requires_grad for part in parts)
    assert torch.equal(gradients(family, transformer), expected)
    assert len(expected) == sum(part.numel() for part in parts)
    torch.optim.SGD(parts, lr=0.1).step()


@pytest.mark.parametrize("form", ["delta", "paper"])
@every_family
def test_autocast_trains_single_precision_parts(family: TinyFamily, form: str) -> None:
    """As with any linear layer: products in bfloat16, weights and gradients in float32."""
    transformer = dit_accel.accelerate(family.transformer(), {"density": SPARSE | {"form": form}})
    parts = learned_parts(transformer)
    expected = gradients(family, transformer)
    parts.zero_grad()
    got = gradients(family, transformer, autocast=True)
    assert {part.dtype for part in parts.parameters()} == {torch.float32}
    assert got.dtype == torch.float32 and got.isfinite().all()
    assert (got - expected).norm() < 0.1 * expected.norm()


def test_gains_of_positions_change_no_precision_of_the_tokens() -> None:
    """Embeddings are in the precision of the latents, tokens in that of the blocks."""
    family = FAMILIES["dit"]
    transformer = dit_accel.accelerate(family.transformer(), {"density": SPARSE})
    seen: list[torch.dtype] = []
    transformer.transformer_blocks[-1].register_forward_pre_hook(
        lambda _, args: seen.append(args[0].dtype)
    )
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        predict(family, transformer)
        with fixed_density(transformer, None):
            predict(family, transformer)
    assert seen[0] == seen[1]


def test_a_reentrant_checkpoint_is_refused() -> None:
    """Its backward would not see what the blocks of a segment share."""
    family = FAMILIES["dit"]
    transformer = dit_accel.accelerate(family.transformer(), {"density": SPARSE})
    transformer.enable_gradient_checkpointing(
        lambda block, *args: checkpoint(block, *args, use_reentrant=True)
    )
    with pytest.raises(UnsupportedError, match="use_reentrant=False"):
        gradients(family, transformer)
