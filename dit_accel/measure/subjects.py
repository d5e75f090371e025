"""What a benchmark is run on: a whole pipeline, or an architecture with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

import dit_accel
from dit_accel.measure.architectures import Architecture
from dit_accel.measure.inputs import forward_inputs
from dit_accel.measure.timing import timed
from dit_accel.plan import Plan
from dit_accel.sampling.batch import ImageBatch, decode, denoise, encode_text
from dit_accel.sampling.loading import DTYPES
from dit_accel.sampling.solvers import make_scheduler
from dit_accel.sampling.variants import pipeline_variant, shared_copy

# num_inference_steps -> latents [B, C, h, w]
Runner = Callable[[int], torch.Tensor]

_RANDOM_SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "linear",
    "prediction_type": "epsilon",
    "timestep_spacing": "trailing",
}


class Subject(Protocol):
    """Makes runners of one batch; all of them share the same weights."""

    @property
    def scheduler_config(self) -> dict[str, Any]:
        """Noise schedule that all solvers are built on."""

    @property
    def text_encoder_seconds(self) -> float | None:
        """Seconds of the text encoder for one batch; ``None`` where there is none."""

    @property
    def conditions(self) -> dict[str, list[int] | list[str]]:
        """The classes or prompts of the batch by what they are; empty where they mean nothing."""

    def runner(self, solver: str, plan: Plan, *, compiled: bool) -> Runner:
        """A denoising loop with this solver and plan."""

    def decode(self, latents: torch.Tensor) -> torch.Tensor | None:
        """Images [B, 3, H, W] in [0, 1]; ``None`` where there is no autoencoder."""


class PipelineSubject:
    """A trained pipeline and one batch of conditions."""

    def __init__(self, pipe: Any, batch: ImageBatch, device: torch.device) -> None:
        self._pipe, self._batch = pipe, batch
        seconds, self._arguments = timed(lambda: encode_text(pipe, batch), device)
        self.text_encoder_seconds = seconds if batch.prompts else None

    @property
    def conditions(self) -> dict[str, list[int] | list[str]]:
        """Class numbers, or texts."""
        if self._batch.prompts is not None:
            return {"prompts": list(self._batch.prompts)}
        return {"class_labels": list(self._batch.class_labels or ())}

    @property
    def scheduler_config(self) -> dict[str, Any]:
        """Config of the scheduler that the pipeline came with."""
        return dict(self._pipe.scheduler.config)

    def runner(self, solver: str, plan: Plan, *, compiled: bool) -> Runner:
        """A denoising loop of the pipeline with this solver and plan."""
        variant = pipeline_variant(self._pipe, solver, plan)
        if compiled:
            variant.transformer = _compiled(variant.transformer, shared=plan.is_empty)
        return lambda steps: denoise(variant, self._batch, self._arguments, steps)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Images [B, 3, H, W] in [0, 1]."""
        return decode(self._pipe, latents)


class RandomWeightsSubject:
    """An architecture without its weights: what it computes means nothing, its speed does."""

    text_encoder_seconds = None
    scheduler_config = _RANDOM_SCHEDULE

    def __init__(
        self,
        architecture: Architecture,
        num_images: int,
        guidance_scale: float,
        dtype: str,
        device: torch.device,
        seed: int,
    ) -> None:
        torch.manual_seed(seed)
        self._transformer = architecture.build(device).to(DTYPES[dtype])
        self._guidance_scale, self._device = guidance_scale, device
        self._guided = guidance_scale > 1
        rows = num_images * (2 if self._guided else 1)
        generator = torch.Generator().manual_seed(seed)
        self._inputs = forward_inputs(
            self._transformer,
            rows,
            text_tokens=architecture.default_text_tokens,
            generator=generator,
        )
        self._num_images = num_images
        self.conditions: dict[str, list[int] | list[str]] = {}

    def runner(self, solver: str, plan: Plan, *, compiled: bool) -> Runner:
        """A bare denoising loop over the transformer with this solver and plan."""
        transformer: Any = self._transformer
        if not plan.is_empty:
            transformer = dit_accel.accelerate(shared_copy(transformer), plan)
        if compiled:
            transformer = _compiled(transformer, shared=plan.is_empty)
        scheduler = make_scheduler(solver, self.scheduler_config)
        return lambda steps: self._loop(transformer, scheduler, steps)

    def decode(self, latents: torch.Tensor) -> None:
        """Nothing: random weights make no pictures."""

    @torch.no_grad()
    def _loop(self, transformer: Any, scheduler: Any, steps: int) -> torch.Tensor:
        scheduler.set_timesteps(steps, device=self._device)
        latents = self._inputs["hidden_states"][: self._num_images] * scheduler.init_noise_sigma
        with dit_accel.run(transformer, scheduler.timesteps, guidance=self._guided):
            for timestep in scheduler.timesteps:
                scaled = scheduler.scale_model_input(latents, timestep)
                prediction = self._predict(transformer, scaled, timestep)
                latents = scheduler.step(prediction, timestep, latents).prev_sample
        result: torch.Tensor = latents
        return result

    def _predict(
        self, transformer: Any, latents: torch.Tensor, timestep: torch.Tensor
    ) -> torch.Tensor:
        rows = torch.cat([latents, latents]) if self._guided else latents
        changed = {
            "hidden_states": rows.to(transformer.dtype),
            "timestep": timestep.expand(len(rows)),
        }
        output: torch.Tensor = transformer(**(self._inputs | changed)).sample
        predicted = output[:, : latents.shape[1]]  # a variance half, if any, is not used
        if not self._guided:
            return predicted
        cond, uncond = predicted.chunk(2)
        return uncond + self._guidance_scale * (cond - uncond)


def _compiled(transformer: Any, *, shared: bool) -> Any:
    """Compile every block; a transformer that others use too is copied first."""
    own: Any = shared_copy(transformer) if shared else transformer
    for block in own.transformer_blocks:
        block.compile()
    return own
