"""The denoising steps of one PixArt call."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from dit_accel.pipelines.denoising import StepCallback, guided_prediction


@dataclass(frozen=True)
class LegacyCallback:
    """The stock pipelines' ``callback`` and ``callback_steps``; steps count whole solver steps."""

    function: Callable[[int, int, torch.Tensor], None] | None
    every: int
    solver_order: int

    def __call__(self, index: int, timestep: Any, latents: torch.Tensor) -> None:
        """Tell the function, if there is one and this step is its turn."""
        if self.function is not None and index % self.every == 0:
            self.function(index // self.solver_order, timestep, latents)


@dataclass(frozen=True)
class PixArtSteps:
    """What stays the same from step to step; R = 2B rows under guidance, unconditional first.

    Args:
        guidance_scale: classifier-free guidance where above 1.
        attention_mask: of the texts, ``[R, L]``.
        added_cond_kwargs: micro-conditions, a row for each of R.
        learned_variance: whether the scheduler takes the variance that the transformer predicts.
        returns_prediction: whether a single step returns the predicted clean latents, without the
            noise that DDPM adds: one-step distilled α models (DMD).
        step_arguments: further arguments of ``scheduler.step``.
        callback: after each step.
        legacy_callback: after each whole solver step.
    """

    guidance_scale: float
    attention_mask: torch.Tensor
    added_cond_kwargs: dict[str, torch.Tensor | None]
    learned_variance: bool
    returns_prediction: bool
    step_arguments: dict[str, Any]
    callback: StepCallback
    legacy_callback: LegacyCallback

    def run(
        self,
        pipe: Any,
        latents: torch.Tensor,
        embeds: torch.Tensor,
        timesteps: torch.Tensor,
        num_inference_steps: int,
    ) -> torch.Tensor:
        """Denoise latents ``[B, C, h, w]`` by texts ``[R, L, D]``."""
        scheduler = pipe.scheduler
        order = scheduler.order
        warmup = max(len(timesteps) - num_inference_steps * order, 0)
        wanted = 1 if self.returns_prediction and num_inference_steps == 1 else 0
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(0)  # spares a lookup, and a device sync, in `step`
        with pipe.progress_bar(total=num_inference_steps) as progress_bar:
            for index, timestep in enumerate(timesteps):
                prediction = self._predict(pipe, latents, timestep, embeds)
                outputs = scheduler.step(
                    prediction, timestep, latents, **self.step_arguments, return_dict=False
                )
                latents = outputs[min(wanted, len(outputs) - 1)]
                changed = self.callback(
                    pipe, index, timestep, latents=latents, prompt_embeds=embeds
                )
                latents, embeds = changed["latents"], changed["prompt_embeds"]
                done = index + 1
                if done == len(timesteps) or (done > warmup and done % order == 0):
                    progress_bar.update()
                    self.legacy_callback(index, timestep, latents)
        return latents

    def _predict(
        self, pipe: Any, latents: torch.Tensor, timestep: torch.Tensor, embeds: torch.Tensor
    ) -> torch.Tensor:
        """The guided output of the transformer, in the channels the scheduler wants."""
        channels = latents.shape[1]
        guided = self.guidance_scale > 1
        rows = torch.cat([latents, latents]) if guided else latents
        rows = pipe.scheduler.scale_model_input(rows, timestep)
        prediction: torch.Tensor = pipe.transformer(
            rows,
            encoder_hidden_states=embeds,
            encoder_attention_mask=self.attention_mask,
            timestep=timestep.to(rows.device).expand(len(rows)),
            added_cond_kwargs=self.added_cond_kwargs,
            return_dict=False,
        )[0]
        if guided:
            uncond, cond = prediction.chunk(2)
            prediction = guided_prediction(cond, uncond, self.guidance_scale, channels)
        return prediction if self.learned_variance else prediction[:, :channels]
