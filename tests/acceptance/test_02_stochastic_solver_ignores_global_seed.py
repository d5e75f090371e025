"""Acceptance 2: a stochastic solver's noise comes from each image's own generator.

The stock DiTPipeline never hands generators to ``scheduler.step``: DDPM then draws from the global
state, for the doubled guidance batch, and no image can be made again in another batch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from saved_pipelines import save_tiny_dit
from saved_text_pipelines import save_tiny_pixart

import dit_accel
from dit_accel.sampling.generate import generate
from dit_accel.sampling.loading import load_pipeline
from dit_accel.sampling.solvers import make_scheduler
from dit_accel.sampling.specs import SampleSpec

SPECS = {
    "dit": [SampleSpec(i, 5 + i, class_label=i % 3) for i in range(4)],
    "pixart": [SampleSpec(i, 5 + i, prompt="a cat on a moon") for i in range(4)],
}
SAVE = {"dit": save_tiny_dit, "pixart": save_tiny_pixart}


def images(pipe: Any, specs: list[SampleSpec], batch_size: int) -> np.ndarray:
    samples = generate(
        pipe, specs, num_inference_steps=5, guidance_scale=2.0, batch_size=batch_size
    )
    return np.stack([sample.image for sample in samples])


@pytest.mark.parametrize("family", SPECS)
def test_ddpm_ignores_the_global_seed(family: str, tmp_path: Path) -> None:
    pipe = load_pipeline(str(SAVE[family](tmp_path / family)), "float32", "cpu")
    pipe.scheduler = make_scheduler("DDPM", pipe.scheduler.config)
    dit_accel.accelerate(pipe, {"cache": {"policy": {"kind": "interval", "interval": 2}}})
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = images(pipe, SPECS[family], batch_size=4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert np.array_equal(images(pipe, SPECS[family], batch_size=4), first)
    # The same noise in any batch: what is left is rounding.
    for size in (1, 3):
        other = images(pipe, SPECS[family], batch_size=size)
        assert np.abs(other.astype(int) - first.astype(int)).max() <= 1


def test_the_solver_does_draw_noise(tmp_path: Path) -> None:
    """Else the test above would say nothing."""
    pipe = load_pipeline(str(save_tiny_dit(tmp_path)), "float32", "cpu")
    ddim = images(pipe, SPECS["dit"], batch_size=4)
    pipe.scheduler = make_scheduler("DDPM", pipe.scheduler.config)
    assert not np.array_equal(images(pipe, SPECS["dit"], batch_size=4), ddim)
