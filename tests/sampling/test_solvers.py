"""Solvers that differ in nothing but the solver."""

import pytest
import torch
from diffusers import DDIMScheduler

from dit_accel import DitAccelError
from dit_accel.sampling.solvers import SOLVERS, make_scheduler, shared_settings

CONFIG = DDIMScheduler(
    clip_sample=True,
    thresholding=True,
    prediction_type="v_prediction",
    timestep_spacing="trailing",
).config


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("steps", [7, 20])
def test_same_times_and_no_clipping(name: str, steps: int) -> None:
    scheduler = make_scheduler(name, CONFIG)
    scheduler.set_timesteps(steps)
    expected = make_scheduler("DDIM", CONFIG)
    expected.set_timesteps(steps)
    assert torch.equal(scheduler.timesteps.long(), expected.timesteps)
    assert scheduler.config.prediction_type == "v_prediction"
    assert not scheduler.config.get("clip_sample") and not scheduler.config.get("thresholding")


@pytest.mark.parametrize("name", [name for name in SOLVERS if name != "DDPM"])
def test_every_solver_reaches_the_same_end(name: str) -> None:
    """With a prediction that is exact for one clean image, all of them end there."""
    clean = torch.linspace(-2, 2, 4 * 16).reshape(1, 4, 4, 4)
    noise = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    scheduler, truth = make_scheduler(name, CONFIG), DDIMScheduler.from_config(CONFIG)
    scheduler.set_timesteps(20)
    sigma = float(scheduler.init_noise_sigma)
    latents = noise * sigma
    for timestep in scheduler.timesteps:
        model_input = scheduler.scale_model_input(latents, timestep)
        alpha = truth.alphas_cumprod[int(timestep)]
        epsilon = (model_input - alpha.sqrt() * clean) / (1 - alpha).sqrt()
        velocity = alpha.sqrt() * epsilon - (1 - alpha).sqrt() * clean
        latents = scheduler.step(velocity, timestep, latents).prev_sample
    assert torch.allclose(latents, clean, atol=1e-3)


def test_unknown_solver_names_the_nearest() -> None:
    with pytest.raises(DitAccelError, match=r"DDIM.*did you mean 'DPMSolver\+\+'"):
        make_scheduler("dpmsolver", CONFIG)


def test_report_says_what_is_shared() -> None:
    settings = shared_settings(CONFIG)
    assert settings["timestep_spacing"] == "trailing"
    assert settings["clip_sample"] is False
