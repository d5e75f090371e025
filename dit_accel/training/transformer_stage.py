"""Train the diffusion transformer on the latent bank."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.nn import functional as F

from .class_conditioning import ClassConditioning
from .conditioning import Conditioning
from .config import ClassRecipe, TextRecipe
from .diffusion import build_scheduler, diffuse
from .images import save_grid
from .latents import LatentBank, bank_path
from .loop import Trainer, step_generator
from .streams import Stream
from .text_conditioning import TextConditioning


class TransformerStage:
    """Trains the transformer; its checkpoint holds the weights and their running average."""

    def __init__(self, config: ClassRecipe | TextRecipe, accelerator: Accelerator) -> None:
        self.config = config
        self.stage = config.transformer
        self.folder = config.output / "transformer"
        self.accelerator = accelerator
        self.bank = LatentBank.load(bank_path(config))
        self.scheduler = build_scheduler()
        self.conditioning = build_conditioning(config, self.bank)
        torch.manual_seed(config.seed)
        model = self.conditioning.build_transformer(*self.bank.latents.shape[1:3])
        # eval() leaves gradients alone; it keeps LabelEmbedding from dropping labels by the
        # global random state. Labels are dropped in `batch`, from the step's own generator.
        model.eval()
        self.ema = EMAModel(
            model.parameters(),
            decay=self.stage.ema_decay,
            use_ema_warmup=True,
            power=self.stage.ema_power,
            foreach=True,
        )
        self.trainer = Trainer(model, self.stage.loop, self.folder, accelerator, self.ema)

    def run(self) -> None:
        """Train to the configured number of steps."""
        self.trainer.run(self.loss, self.preview)

    def batch(self, step: int) -> tuple[Tensor, ...]:
        """Clean latents, noise (both ``[B, C, h, w]``), timesteps and conditions of one step."""
        generator = step_generator(self.config.seed, Stream.TRANSFORMER, step)
        count = self.stage.batch_size
        crops = torch.randint(len(self.bank.labels), (count,), generator=generator)
        clean = self.bank.latents[crops]
        noise = torch.randn(clean.shape, generator=generator)
        timesteps = torch.randint(len(self.scheduler.betas), (count,), generator=generator)
        dropped = torch.rand(count, generator=generator) < self.stage.condition_dropout
        return clean, noise, timesteps, *self.conditioning.draw(crops, dropped, generator)

    def loss(self, step: int) -> Tensor:
        """Mean squared error of the predicted velocity."""
        device = self.accelerator.device
        # Every process draws the whole batch and computes its own share of it.
        share = slice(self.accelerator.process_index, None, self.accelerator.num_processes)
        parts = (part[share].to(device) for part in self.batch(step))
        clean, noise, timesteps, *conditions = parts
        alphas = self.scheduler.alphas_cumprod.to(device)
        noised, velocity = diffuse(clean, noise, timesteps, alphas)
        with self.accelerator.autocast():
            predicted = self.conditioning.predict(
                self.trainer.model, noised, timesteps, tuple(conditions)
            )
        return F.mse_loss(predicted.float(), velocity)

    def preview(self, step: int) -> dict[str, float]:
        """Write one sample per photograph, by the averaged weights, as a grid."""
        pipeline = self.conditioning.assemble(self.bank, self.ema.shadow_params)
        generator = step_generator(self.config.seed, Stream.SAMPLES, 0)
        pictures = self.conditioning.preview(pipeline, generator)
        save_grid(pictures, self.folder / "previews" / f"{step:06d}.png", columns=5)
        return {"preview_pixel_std": pictures.std().item()}


def build_conditioning(config: ClassRecipe | TextRecipe, bank: LatentBank) -> Conditioning:
    """The recipe's kind of conditions."""
    if isinstance(config, TextRecipe):
        return TextConditioning(config, len(bank.labels))
    return ClassConditioning(config, bank.labels)
