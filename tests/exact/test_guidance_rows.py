"""Equal guidance rows: what they share runs on half of the rows, and only where they are equal."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from exact_runs import TOLERANCE, distance, rows_through
from plans import PLANS
from tiny_models import noise

import dit_accel

ONLY = {
    "exact": dict.fromkeys(
        ("modulations", "text_keys_values", "fused_projections", "channels_last"), False
    )
}


def shared_modules(transformer: Any) -> list[list[int]]:
    first, second = transformer.transformer_blocks[:2]
    return [rows_through(m) for m in (transformer.pos_embed, first.attn1.to_q, second.attn1.to_q)]


def test_half_of_the_rows(family: Any) -> None:
    transformer = family.transformer()
    stock = family.denoise(family.transformer(), (1, 2), 3)
    patches, first, second = shared_modules(transformer)
    dit_accel.accelerate(transformer, ONLY)
    assert distance(stock, family.denoise(transformer, (1, 2), 3)) <= TOLERANCE
    assert patches == [2, 2, 2] and second == [4, 4, 4]
    assert first == ([4, 4, 4] if family.name == "dit" else [2, 2, 2])


@pytest.mark.parametrize("change", ["latents", "timesteps", "announced", "odd"])
def test_rows_that_are_no_guidance_rows(pixart: Any, change: str) -> None:
    """Equal samples of one batch may part later: each forward is looked at by itself."""
    transformer = pixart.transformer()
    stock, (patches, first, _) = pixart.transformer(), shared_modules(transformer)
    dit_accel.accelerate(transformer, ONLY)
    samples = (1, 2, 3) if change == "odd" else (1, 2, 3, 4)
    condition = pixart.condition(samples, torch.float32)
    latents = noise((1, 2, 1, 2)[: len(samples)], (8, 8), torch.float32)
    with torch.no_grad(), dit_accel.run(transformer, 2, guidance=change != "announced" and None):
        for step in range(2):
            times = torch.tensor([500.0] * len(samples))
            if step and change == "latents":
                latents[3] += 1e-3
            if step and change == "timesteps":
                times[3] = 400.0
            outputs = [m(latents, timestep=times, **condition).sample for m in (stock, transformer)]
            assert distance(*outputs) <= TOLERANCE
    whole = len(samples)
    expected = {
        "latents": ([2, 4], [2, 4]),
        "timesteps": ([2, 2], [2, 4]),
        "announced": ([4, 4], [4, 4]),
        "odd": ([whole, whole], [whole, whole]),
    }
    assert (patches, first) == expected[change]


def test_a_matching_that_layers_share_is_made_on_all_rows(pixart: Any) -> None:
    transformer = pixart.transformer()
    patches, first, _ = shared_modules(transformer)
    dit_accel.accelerate(transformer, {**PLANS["tome2d"], **ONLY})
    pixart.denoise(transformer, (1, 2), 2)
    assert patches == [2, 2] and first == [4, 4]
