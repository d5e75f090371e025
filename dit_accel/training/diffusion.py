"""The forward diffusion process and the velocity target, independent of any model."""

from __future__ import annotations

from diffusers import DDIMScheduler
from torch import Tensor


def build_scheduler() -> DDIMScheduler:
    """The process of the published pipeline: DiT's linear betas with a velocity target.

    ``trailing`` spacing starts every schedule at t = 999, where the latent really is noise, and
    ends it with one jump to the clean latent, for any number of steps and any sampler built by
    ``from_config``; it needs no ``steps_offset``.
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        steps_offset=0,
        clip_sample=False,
    )


def diffuse(
    clean: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor
) -> tuple[Tensor, Tensor]:
    """Noised latents and their velocity targets.

    With a = sqrt(alphas_cumprod[t]) and s = sqrt(1 - alphas_cumprod[t]): the noised latent is
    ``a * clean + s * noise`` and the velocity ``a * noise - s * clean``, all ``[B, C, h, w]``.
    """
    signal = alphas_cumprod[timesteps].sqrt().view(-1, 1, 1, 1)
    spread = (1 - alphas_cumprod[timesteps]).sqrt().view(-1, 1, 1, 1)
    return signal * clean + spread * noise, signal * noise - spread * clean
