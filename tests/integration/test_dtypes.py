"""Half precision: nothing is silently widened, and plans mean the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plans import NEUTRAL_PLANS
from tiny_models import TinyFamily

import dit_accel
from dit_accel.install import installation_of

HALF = [torch.bfloat16, torch.float16]


def outputs(
    family: TinyFamily, plan: dict[str, Any], dtype: torch.dtype
) -> tuple[torch.Tensor, set[torch.dtype]]:
    """Outputs along a fixed, smooth path of latents, and the types of what was remembered."""
    transformer = dit_accel.accelerate(family.transformer(dtype=dtype), plan)
    generator = torch.Generator().manual_seed(0)
    start, end = torch.randn(2, 2, 4, 8, 8, generator=generator)
    found, remembered = [], set()
    with torch.no_grad(), dit_accel.run(transformer, timesteps=5, guidance=False):
        for index in range(5):
            latents = torch.lerp(start, end, index / 8).to(dtype)
            condition = family.condition((1, 2), dtype)
            found.append(family.predict(transformer, latents, 600 - 40 * index, condition))
            installation = installation_of(transformer)
            for run in installation._caches._runs.values() if installation else ():
                remembered |= {ring.buffer.dtype for ring in run.memory.rings.values()}
    return torch.stack(found), remembered


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_half_precision_agrees_with_single(
    layout: TinyFamily, static_plan: dict[str, Any], dtype: torch.dtype
) -> None:
    got, remembered = outputs(layout, static_plan, dtype)
    expected, _ = outputs(layout, static_plan, torch.float32)
    assert got.dtype == dtype
    assert remembered <= {dtype}
    error = (got.float() - expected).norm() / expected.norm()
    assert error < (0.05 if dtype == torch.bfloat16 else 0.02)


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("name", ["all", "interval_1_block"])
def test_neutral_plans_are_dense_bit_for_bit_in_half_precision(
    layout: TinyFamily, name: str, dtype: torch.dtype
) -> None:
    got, _ = outputs(layout, NEUTRAL_PLANS[name], dtype)
    expected, _ = outputs(layout, {}, dtype)
    assert torch.equal(got, expected)


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_stock_pipelines_run_in_half_precision(
    layout: TinyFamily, remembering_plan: dict[str, Any], dtype: torch.dtype
) -> None:
    pipe = dit_accel.accelerate(layout.pipeline(dtype=dtype), remembering_plan)
    latents = layout.generate(pipe, steps=4)
    assert latents.dtype == dtype and latents.isfinite().all()
    assert torch.equal(layout.generate(pipe, steps=4), latents)
