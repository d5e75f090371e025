"""The forward process against float64 formulas written out here."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import DDIMScheduler, UniPCMultistepScheduler

from dit_accel.training.diffusion import build_scheduler, diffuse


def test_noised_latents_and_velocity_match_a_float64_reference():
    rng = np.random.default_rng(0)
    clean, noise = rng.normal(size=(2, 4, 3, 2, 2))
    timesteps = np.array([0, 10, 500, 999])
    kept = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[timesteps].reshape(-1, 1, 1, 1)
    noised, velocity = diffuse(
        torch.tensor(clean, dtype=torch.float32),
        torch.tensor(noise, dtype=torch.float32),
        torch.tensor(timesteps),
        build_scheduler().alphas_cumprod,
    )
    wanted_noised = np.sqrt(kept) * clean + np.sqrt(1 - kept) * noise
    wanted_velocity = np.sqrt(kept) * noise - np.sqrt(1 - kept) * clean
    np.testing.assert_allclose(noised.numpy(), wanted_noised, atol=2e-5)
    np.testing.assert_allclose(velocity.numpy(), wanted_velocity, atol=2e-5)


def test_the_target_is_the_velocity_of_the_published_scheduler():
    """Our own formula and diffusers' sampler agree on what is being predicted."""
    scheduler = build_scheduler()
    clean, noise = torch.randn(2, 4, 3, 2, 2)
    timesteps = torch.tensor([0, 100, 700, 999])
    _, velocity = diffuse(clean, noise, timesteps, scheduler.alphas_cumprod)
    torch.testing.assert_close(velocity, scheduler.get_velocity(clean, noise, timesteps))


def test_schedules_start_at_pure_noise_for_any_step_count():
    for kind in (DDIMScheduler, UniPCMultistepScheduler):
        for steps in (7, 20, 50):
            scheduler = kind.from_config(build_scheduler().config)
            scheduler.set_timesteps(steps)
            assert scheduler.timesteps[0] == 999
            assert len(scheduler.timesteps) == steps


def test_an_exact_velocity_leads_ddim_to_the_clean_latent():
    scheduler = build_scheduler()
    scheduler.set_timesteps(10)
    clean, latents = torch.randn(2, 1, 4, 2, 2, dtype=torch.float64)
    kept = scheduler.alphas_cumprod.double()
    for t in scheduler.timesteps:
        noise = (latents - kept[t].sqrt() * clean) / (1 - kept[t]).sqrt()
        velocity = kept[t].sqrt() * noise - (1 - kept[t]).sqrt() * clean
        latents = scheduler.step(velocity, t, latents).prev_sample
    torch.testing.assert_close(latents, clean, atol=1e-5, rtol=0)
