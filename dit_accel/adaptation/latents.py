"""Pictures as latents, encoded once, read by memory map, and noised batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from dit_accel.adaptation.array_folder import ArrayFolder
from dit_accel.adaptation.noise_levels import NoiseLevels
from dit_accel.adaptation.pictures import Picture
from dit_accel.adaptation.samples import Batch
from dit_accel.training.diffusion import diffuse


class Latents:
    """A `Source` of pictures.

    Args:
        arrays: that hold their latents.
        conditions: row of each picture in the condition table, `[N]`.
        levels: of the run.
    """

    def __init__(self, arrays: ArrayFolder, conditions: Tensor, levels: NoiseLevels) -> None:
        self.arrays, self.conditions, self.levels = arrays, conditions, levels

    def __len__(self) -> int:
        return len(self.conditions)

    def batch(
        self, samples: Tensor, dropped: Tensor, step: int, generator: torch.Generator
    ) -> Batch:
        """As `Source.batch`: timesteps from the step's interval, and noise."""
        clean = self.arrays.read("latents", samples)
        first, last = self.levels.interval(step)
        timesteps = torch.randint(first, last + 1, (len(samples),), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        states, velocity = diffuse(clean, noise, timesteps, self.levels.alphas_cumprod)
        targets = {"epsilon": noise, "v_prediction": velocity, "sample": clean}
        return Batch(
            states=states,
            timesteps=timesteps,
            conditions=self.conditions[samples].masked_fill(dropped, 0),
            target=targets[self.levels.prediction_type],
        )


@torch.no_grad()
def encode_pictures(
    pictures: Sequence[Picture],
    pipe: Any,
    size: int,
    batch_size: int,
    arrays: ArrayFolder,
    advance: Callable[[str], None],
) -> None:
    """Fill `arrays` with the posterior means of whatever is not there yet, in half precision."""
    vae = pipe.vae
    for start in range(0, len(pictures), batch_size):
        if start >= arrays.done:
            batch = pictures[start : start + batch_size]
            pixels = torch.stack([picture.pixels(size) for picture in batch])
            means = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mode()
            latents = (means.float() * vae.config.scaling_factor).half().cpu()
            arrays.write(len(pictures), {"latents": latents.numpy()})
        advance("latents")
