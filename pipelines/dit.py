"""Class-conditional pipeline for DiT: the stock one with a plan, per-sample noise and callbacks."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from diffusers import DiTPipeline as StockDiTPipeline
from diffusers import ImagePipelineOutput
from diffusers.utils.torch_utils import randn_tensor

from dit_accel.pipelines.denoising import (
    Generators,
    StepCallback,
    check_noise_inputs,
    check_run,
    generator_arguments,
    guided_prediction,
    plan_applied,
    uses_learned_variance,
)

if TYPE_CHECKING:
    from dit_accel.plan import PlanLike


class DiTPipeline(StockDiTPipeline):
    """``diffusers.DiTPipeline`` that takes a plan and keeps samples independent of each other.

    With no plan (or an empty one) and a deterministic scheduler the result equals the stock
    pipeline's bit for bit. It differs where stock goes wrong:

    * **Input scaling.** Stock steps from its own *scaled* input and starts from unscaled noise, so
      schedulers with ``init_noise_sigma != 1`` or a real ``scale_model_input`` (Euler, Heun, LMS,
      K-DPM2) integrate the wrong equation. Here the latents are scaled for the transformer only.
    * **Noise.** Stock never passes ``generator`` to ``scheduler.step``: stochastic solvers draw
      from the global generator, for the doubled guidance batch. Here the steps draw from
      ``generator``, and with a list of generators sample *i* depends on generator *i* alone. (A
      scheduler whose ``step`` has no ``generator`` argument draws as it always does.) Runs of
      stochastic schedulers therefore differ from stock's under guidance.
    * **Learned variance.** A transformer that predicts a variance hands it to DDPM schedulers with
      a learned ``variance_type`` (stock drops it and fails); under guidance the variance is the
      conditional rows'.
    * **Null label.** ``transformer.config.num_embeds_ada_norm``, not the literal 1000.
    """

    _callback_tensor_inputs = ("latents", "class_labels")

    @torch.no_grad()
    def __call__(
        self,
        class_labels: Sequence[int] | torch.Tensor,
        guidance_scale: float = 4.0,
        generator: Generators = None,
        num_inference_steps: int = 50,
        output_type: str | None = "pil",
        return_dict: bool = True,
        *,
        plan: "PlanLike | None" = None,
        height: int | None = None,
        width: int | None = None,
        latents: torch.Tensor | None = None,
        callback_on_step_end: Callable[..., dict[str, Any] | None] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> ImagePipelineOutput | tuple[Any]:
        """Generate one image for each class label.

        Args:
            class_labels: B labels in ``0 .. transformer.config.num_embeds_ada_norm - 1``.
            guidance_scale: classifier-free guidance where above 1; conditional and unconditional
                rows share one batch of 2B.
            generator: a list of B generators (sample *i* is then a function of generator *i*
                alone), one for the whole batch, or None for the global one. Draws the initial
                latents and whatever ``scheduler.step`` draws.
            num_inference_steps: denoising steps.
            output_type: ``"pil"``, ``"np"`` (``[B, H, W, 3]`` in 0..1), ``"pt"``
                (``[B, 3, H, W]`` in 0..1) or ``"latent"`` (``[B, C, h, w]``, not decoded).
            return_dict: False returns a tuple.
            plan: what to compute during this call: preset name, YAML path, dict or ``Plan``. None
                leaves whatever ``dit_accel.accelerate`` installed.
            height: pixels; default the size the transformer was trained at.
            width: pixels; DiT is square only, so equal to ``height``.
            latents: initial standard normal noise ``[B, C, h, w]`` in place of a draw; it is scaled
                by ``scheduler.init_noise_sigma`` like a draw.
            callback_on_step_end: ``f(pipe, step, timestep, tensors)`` after each step; may return
                replacements for ``tensors``.
            callback_on_step_end_tensor_inputs: names from ``latents`` (``[B, C, h, w]``) and
                ``class_labels`` (``[2B]`` under guidance, conditional first, else ``[B]``).

        Returns:
            Images, as an ``ImagePipelineOutput`` or a tuple of one.

        Raises:
            ValueError: before anything runs, for a label out of range, a number of generators
                other than B, latents of another shape, a size that is not square or does not
                divide into patches, or a scheduler that does not suit the transformer's output.
        """
        with plan_applied(self, plan):
            check_run(num_inference_steps, output_type)
            labels = self._checked_labels(class_labels)
            shape = (len(labels), self.transformer.config.in_channels, *self._size(height, width))
            check_noise_inputs(generator, latents, shape)
            callback = StepCallback(
                callback_on_step_end,
                callback_on_step_end_tensor_inputs,
                self._callback_tensor_inputs,
            )
            learned_variance = uses_learned_variance(self.transformer, self.scheduler)
            # Timesteps first: init_noise_sigma of Euler-type schedulers is only right after.
            self.scheduler.set_timesteps(num_inference_steps)
            latents = self._initial_latents(shape, generator, latents)
            latents = self._denoise(
                latents, labels, guidance_scale, generator, callback, learned_variance
            )
            images = self._decoded(latents, output_type)
            self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _checked_labels(self, class_labels: Sequence[int] | torch.Tensor) -> torch.Tensor:
        labels = torch.as_tensor(class_labels).reshape(-1)
        num_classes = self.transformer.config.num_embeds_ada_norm
        if len(labels) == 0:
            raise ValueError("`class_labels` is empty: pass at least one label.")
        if labels.is_floating_point() or labels.dtype == torch.bool:
            raise ValueError(f"`class_labels` must be integers, got {labels.dtype}.")
        outside = labels[(labels < 0) | (labels >= num_classes)].tolist()
        if outside:
            raise ValueError(
                f"`class_labels` must lie in 0..{num_classes - 1} for this transformer, "
                f"got {outside}."
            )
        return labels.to(self._execution_device)

    def _size(self, height: int | None, width: int | None) -> tuple[int, int]:
        """Latent height and width of an image of ``height`` x ``width`` pixels."""
        factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        native = self.transformer.config.sample_size * factor
        height = height or width or native
        width = width or height
        if height != width:
            raise ValueError(
                f"DiT is square only (its transformer folds the tokens back into a square), "
                f"got height {height} and width {width}."
            )
        multiple = factor * self.transformer.config.patch_size
        if height < 1 or height % multiple:
            raise ValueError(
                f"`height` and `width` must be positive multiples of {multiple} "
                f"(autoencoder factor {factor} x patch size), got {height}."
            )
        return height // factor, width // factor

    def _initial_latents(
        self, shape: tuple[int, ...], generator: Generators, latents: torch.Tensor | None
    ) -> torch.Tensor:
        device, dtype = self._execution_device, self.transformer.dtype
        if latents is None:
            latents = randn_tensor(shape, generator=generator, device=device, dtype=dtype)
        scaled: torch.Tensor = latents.to(device, dtype) * self.scheduler.init_noise_sigma
        return scaled

    def _denoise(
        self,
        latents: torch.Tensor,
        labels: torch.Tensor,
        guidance_scale: float,
        generator: Generators,
        callback: StepCallback,
        learned_variance: bool,
    ) -> torch.Tensor:
        channels = latents.shape[1]
        guided = guidance_scale > 1
        if guided:
            null = torch.full_like(labels, self.transformer.config.num_embeds_ada_norm)
            labels = torch.cat([labels, null])
        step_arguments = generator_arguments(self.scheduler, generator)
        for step, timestep in enumerate(self.progress_bar(self.scheduler.timesteps)):
            rows = torch.cat([latents, latents]) if guided else latents
            rows = self.scheduler.scale_model_input(rows, timestep)
            prediction = self.transformer(
                rows,
                timestep=timestep.to(rows.device).expand(len(rows)),
                class_labels=labels,
            ).sample
            if guided:
                prediction = guided_prediction(*prediction.chunk(2), guidance_scale, channels)
            if not learned_variance:
                prediction = prediction[:, :channels]
            latents = self.scheduler.step(
                prediction, timestep, latents, **step_arguments
            ).prev_sample
            changed = callback(self, step, timestep, latents=latents, class_labels=labels)
            latents, labels = changed["latents"], changed["class_labels"]
        return latents

    def _decoded(self, latents: torch.Tensor, output_type: str | None) -> Any:
        if output_type == "latent":
            return latents
        latents = 1 / self.vae.config.scaling_factor * latents
        images = self.vae.decode(latents.to(self.vae.dtype)).sample
        images = (images / 2 + 0.5).clamp(0, 1)
        if output_type == "pt":
            return images
        arrays = images.cpu().permute(0, 2, 3, 1).float().numpy()
        return self.numpy_to_pil(arrays) if output_type == "pil" else arrays
