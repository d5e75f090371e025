"""Stage 1: the autoencoder, ``[B, 3, H, W]`` in [-1, 1] <-> latents ``[B, C, H/4, W/4]``."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from .checkpoint import write_json
from .config import AutoencoderConfig, ClassRecipe
from .images import save_grid
from .loop import Trainer, step_generator
from .photos import CropSource
from .streams import Stream, held_out_crops, training_crops


def build_autoencoder(config: AutoencoderConfig, crop_size: int) -> AutoencoderKL:
    """An untrained autoencoder; no attention, so that its cost is linear in pixels."""
    levels = len(config.block_out_channels)
    return AutoencoderKL(
        block_out_channels=config.block_out_channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        latent_channels=config.latent_channels,
        norm_num_groups=config.norm_num_groups,
        sample_size=crop_size,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def reconstruction_loss(
    model: AutoencoderKL, pixels: Tensor, kl_weight: float, generator: torch.Generator
) -> Tensor:
    """Squared error of the decoded posterior sample plus a faint pull towards N(0, 1).

    The pull keeps the latents centred and bounded, which the diffusion model relies on: the stock
    pipeline rescales latents by one factor and never shifts them.
    """
    posterior = model.encode(pixels).latent_dist
    decoded = model.decode(posterior.sample(generator)).sample
    kl_per_element = posterior.kl().mean() / posterior.mean[0].numel()
    loss: Tensor = F.mse_loss(decoded.float(), pixels) + kl_weight * kl_per_element
    return loss


def psnr(reference: Tensor, decoded: Tensor) -> Tensor:
    """Peak signal-to-noise ratio per image, dB, of ``[B, 3, H, W]`` pictures in [-1, 1]."""
    error = (reference - decoded.clamp(-1, 1)).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / error)


@torch.no_grad()
def reconstruct(model: AutoencoderKL, pixels: Tensor, batch_size: int = 16) -> Tensor:
    """Decode the posterior mean of ``[B, 3, H, W]`` pictures, in the model's own precision."""
    parts = [
        model.decode(model.encode(part.to(model.device)).latent_dist.mode()).sample.cpu()
        for part in torch.split(pixels, batch_size)
    ]
    return torch.cat(parts)


class AutoencoderStage:
    """Trains the autoencoder and leaves ``model/`` and ``result.json`` in its folder."""

    def __init__(self, config: ClassRecipe, accelerator: Accelerator) -> None:
        self.config = config
        self.stage = config.autoencoder
        self.folder = config.output / "autoencoder"
        self.accelerator = accelerator
        self.crops: CropSource = training_crops(config, Stream.AUTOENCODER)
        self.held_out, _ = held_out_crops(config)
        torch.manual_seed(config.seed)
        model = build_autoencoder(self.stage, config.data.crop_size)
        self.trainer = Trainer(
            model.to(memory_format=torch.channels_last),
            self.stage.loop,
            self.folder,
            accelerator,
        )

    @property
    def model(self) -> AutoencoderKL:
        """The bare model behind whatever accelerate wrapped around it."""
        model: AutoencoderKL = self.accelerator.unwrap_model(self.trainer.model)
        return model

    def run(self) -> None:
        """Train to the end, then score and save."""
        self.trainer.run(self.loss, self.preview)
        scores = psnr(self.held_out, reconstruct(self.model, self.held_out))
        self.model.save_pretrained(self.folder / "model")
        result = {"psnr_db": scores.mean().item(), "psnr_db_worst": scores.min().item()}
        write_json(
            {**result, "steps": self.trainer.step, "seconds": self.trainer.seconds},
            self.folder / "result.json",
        )

    def loss(self, step: int) -> Tensor:
        """The loss of optimiser step ``step``."""
        pixels = self.batch(step).contiguous(memory_format=torch.channels_last)
        generator = step_generator(self.config.seed, Stream.AUTOENCODER, step)
        with self.accelerator.autocast():
            return reconstruction_loss(
                self.model, pixels.to(self.accelerator.device), self.stage.kl_weight, generator
            )

    def batch(self, step: int) -> Tensor:
        """Pictures of step ``step``: windows at first, whole crops at the end."""
        size = self.config.data.crop_size
        if step >= self.stage.loop.steps - self.stage.whole_crop_steps:
            count = self.stage.whole_crop_batch_size
            return self.crops.batch(step * self.stage.batch_size, count, size)[0]
        return self.crops.window_batch(
            step * self.stage.batch_size,
            self.stage.batch_size,
            round(size * self.stage.window),
            self.stage.window,
        )

    def preview(self, step: int) -> dict[str, float]:
        """Write held-out crops above their reconstructions; the PSNR of those shown, dB."""
        shown = self.held_out[:: self.config.data.held_out_per_class]
        decoded = reconstruct(self.model, shown)
        save_grid(torch.cat([shown, decoded]), self.preview_path(step), columns=len(shown))
        return {"preview_psnr_db": psnr(shown, decoded).mean().item()}

    def preview_path(self, step: int) -> Path:
        """Where the picture of step ``step`` goes."""
        return self.folder / "previews" / f"{step:06d}.png"
