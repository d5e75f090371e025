"""Pictures as latents, encoded once, read by memory map, and noised batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
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


class PictureEncoder:
    """Makes the rows of such arrays, in half precision.

    Args:
        pictures: all of them.
        pipe: whose autoencoder takes them in.
        size: side in pixels.
        batch_size: at a time.
    """

    def __init__(self, pictures: Sequence[Picture], pipe: Any, size: int, batch_size: int) -> None:
        self._pictures, self._vae = pictures, pipe.vae
        self._size, self._batch_size = size, batch_size

    @torch.no_grad()
    def make(self, rows: range) -> dict[str, np.ndarray]:
        """Posterior means of some pictures."""
        parts = [
            self._encode(rows[start : start + self._batch_size])
            for start in range(0, len(rows), self._batch_size)
        ]
        return {"latents": torch.cat(parts).numpy()}

    def _encode(self, rows: range) -> Tensor:
        vae = self._vae
        pixels = torch.stack([self._pictures[row].pixels(self._size) for row in rows])
        means = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mode()
        latents: Tensor = (means.float() * vae.config.scaling_factor).half().cpu()
        return latents
