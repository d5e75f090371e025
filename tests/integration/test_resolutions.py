"""Rectangular images on PixArt; DiT's own limit is said clearly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plans import PLANS
from tiny_models import FAMILIES, calls_of

import dit_accel


def test_rectangular_images_on_pixart(pixart: Any, plan: dict[str, Any]) -> None:
    size = (24, 8)
    pipe = dit_accel.accelerate(pixart.pipeline(), plan)
    latents = pixart.generate(pipe, (1, 2), size=size)
    assert latents.shape[-2:] == size and latents.isfinite().all()
    assert {call.grid for call in calls_of(pipe)} == {size}


def test_rectangular_neutral_plans_are_dense(neutral_plan: dict[str, Any]) -> None:
    pixart: Any = FAMILIES["sigma"]
    pipe = pixart.pipeline()
    stock = pixart.generate(pipe, (1,), steps=3, size=(8, 16))
    dit_accel.accelerate(pipe, neutral_plan)
    assert torch.equal(pixart.generate(pipe, (1,), steps=3, size=(8, 16)), stock)


def test_a_latent_side_that_no_window_divides(plan: dict[str, Any]) -> None:
    """Seven by nine tokens: cells and windows differ in size."""
    pixart: Any = FAMILIES["sigma"]
    transformer = dit_accel.accelerate(pixart.transformer(), plan)
    with dit_accel.run(transformer, timesteps=4):
        latents = pixart.denoise(transformer, (1, 2), steps=4, size=(7, 9))
    assert latents.shape[-2:] == (7, 9) and latents.isfinite().all()


def test_rectangular_latents_on_dit_are_refused_with_the_remedy() -> None:
    transformer = dit_accel.accelerate(FAMILIES["dit"].transformer(), PLANS["pooled"])
    with pytest.raises(dit_accel.UnsupportedError, match=r"8x16 tokens.*square.*PixArt"):
        transformer(torch.randn(1, 4, 8, 16), torch.tensor([5.0]), torch.tensor([1]))


def test_other_square_sizes_on_dit(plan: dict[str, Any]) -> None:
    family = FAMILIES["dit"]
    transformer = dit_accel.accelerate(family.transformer(), plan)
    for side in (8, 12, 6):
        with dit_accel.run(transformer, timesteps=3):
            latents = family.denoise(transformer, (1, 2), steps=3, size=(side, side))
        assert latents.shape[-2:] == (side, side) and latents.isfinite().all()
