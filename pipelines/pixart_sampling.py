"""The denoising loop shared by our PixArt-α and PixArt-Σ pipelines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from diffusers import AutoencoderKL, ImagePipelineOutput, PixArtTransformer2DModel
from diffusers.pipelines.pixart_alpha.pipeline_pixart_alpha import retrieve_timesteps
from diffusers.schedulers import KarrasDiffusionSchedulers
from transformers import T5EncoderModel, T5Tokenizer

from dit_accel.pipelines.denoising import (
    Generators,
    StepCallback,
    check_noise_inputs,
    check_run,
    guided_prediction,
    plan_applied,
    uses_learned_variance,
)
from dit_accel.pipelines.pixart_size import AspectRatioBins, PixArtSize
from dit_accel.pipelines.pixart_texts import PixArtTexts, guidance_rows
from dit_accel.pipelines.text_embeddings import TextEmbeddingCache

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline as _StockPipeline

    from dit_accel.plan import PlanLike
else:
    # Not a DiffusionPipeline by itself: `custom_pipeline=` wants one pipeline class in a file, and
    # counts those that the file imports.
    _StockPipeline = object


@dataclass(frozen=True)
class _LegacyCallback:
    """The stock pipelines' ``callback`` and ``callback_steps``; steps count whole solver steps."""

    function: Callable[[int, int, torch.Tensor], None] | None
    every: int
    solver_order: int

    def __call__(self, index: int, timestep: Any, latents: torch.Tensor) -> None:
        if self.function is not None and index % self.every == 0:
            self.function(index // self.solver_order, timestep, latents)


@dataclass(frozen=True)
class _Conditions:
    """What the transformer sees beside the latents; R rows, unconditional half first if guided."""

    guidance_scale: float
    prompt_attention_mask: torch.Tensor
    added_cond_kwargs: dict[str, torch.Tensor | None]
    learned_variance: bool


class PixArtSampling(_StockPipeline):
    """Mixin over the stock PixArt pipelines: a plan, per-sample noise, callbacks, cached texts.

    With no plan (or an empty one) the result equals the stock pipeline's bit for bit, for any
    scheduler that ignores the transformer's variance output. Beyond stock:

    * ``plan`` applies to the one call.
    * ``callback_on_step_end``, with replacements.
    * With a list of generators, sample *i* depends on generator *i* alone (stock has this too).
    * A variance predicted by the transformer goes to DDPM schedulers with a learned
      ``variance_type``; stock drops it and fails.
    * Texts are encoded once: another call with the same prompts takes the embeddings from
      ``text_embedding_cache``, exactly as the encoder gave them.
    * Micro-conditions follow ``transformer.use_additional_conditions``, not the sample size.
    """

    aspect_ratio_bins: ClassVar[AspectRatioBins]
    default_max_sequence_length: ClassVar[int]
    one_step_returns_prediction: ClassVar[bool]
    _callback_tensor_inputs = ("latents", "prompt_embeds")

    def __init__(
        self,
        tokenizer: T5Tokenizer,
        text_encoder: T5EncoderModel,
        vae: AutoencoderKL,
        transformer: PixArtTransformer2DModel,
        scheduler: KarrasDiffusionSchedulers,
    ) -> None:
        super().__init__(
            tokenizer=tokenizer,
            text_encoder=text_encoder,
            vae=vae,
            transformer=transformer,
            scheduler=scheduler,
        )
        self.text_embedding_cache = TextEmbeddingCache()

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        negative_prompt: str | list[str] | None = "",
        num_inference_steps: int = 20,
        timesteps: list[int] | None = None,
        sigmas: list[float] | None = None,
        guidance_scale: float = 4.5,
        num_images_per_prompt: int = 1,
        height: int | None = None,
        width: int | None = None,
        eta: float = 0.0,
        generator: Generators = None,
        latents: torch.Tensor | None = None,
        prompt_embeds: torch.Tensor | None = None,
        prompt_attention_mask: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        negative_prompt_attention_mask: torch.Tensor | None = None,
        output_type: str | None = "pil",
        return_dict: bool = True,
        callback: Callable[[int, int, torch.Tensor], None] | None = None,
        callback_steps: int = 1,
        clean_caption: bool = True,
        use_resolution_binning: bool = True,
        max_sequence_length: int | None = None,
        *,
        plan: "PlanLike | None" = None,
        callback_on_step_end: Callable[..., dict[str, Any] | None] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> ImagePipelineOutput | tuple[Any]:
        """Generate images for one or more prompts.

        Positional arguments are the stock pipeline's, with B = prompts x ``num_images_per_prompt``
        samples; the ones whose meaning is wider here:

        Args:
            prompt: one prompt or a list; or give ``prompt_embeds`` ``[P, L, D]`` with
                ``prompt_attention_mask`` ``[P, L]``.
            negative_prompt: one for all, or a list of one a prompt.
            num_inference_steps: denoising steps.
            timesteps: custom timesteps in place of ``num_inference_steps``.
            sigmas: custom noise levels in place of ``num_inference_steps``.
            guidance_scale: classifier-free guidance where above 1; the unconditional and
                conditional rows share one batch of 2B.
            num_images_per_prompt: samples a prompt.
            height: pixels; default the transformer's ``sample_size``.
            width: pixels; default the transformer's ``sample_size``.
            eta: stochasticity of DDIM (arXiv:2010.02502, equation 16); others ignore it.
            generator: a list of B generators (sample *i* is then a function of its prompt and
                generator *i* alone), one for the whole batch, or None for the global one. Draws
                the initial latents and whatever ``scheduler.step`` draws.
            latents: initial standard normal noise ``[B, C, h, w]`` in place of a draw.
            prompt_embeds: see ``prompt``.
            prompt_attention_mask: see ``prompt``.
            negative_prompt_embeds: ``[P, L, D]`` in place of ``negative_prompt``.
            negative_prompt_attention_mask: ``[P, L]``.
            output_type: ``"pil"``, ``"np"`` (``[B, H, W, 3]`` in 0..1), ``"pt"``
                (``[B, 3, H, W]`` in 0..1) or ``"latent"`` (``[B, C, h, w]``, not decoded).
            return_dict: False returns a tuple.
            callback: the stock pipeline's ``f(step, timestep, latents)``.
            callback_steps: call ``callback`` every so many steps.
            clean_caption: clean captions before encoding (needs beautifulsoup4 and ftfy).
            use_resolution_binning: generate at the nearest size the model was trained at, then
                resize and crop.
            max_sequence_length: text tokens; default 120 for α and 300 for Σ.
            plan: what to compute during this call: preset name, YAML path, dict or ``Plan``. None
                leaves whatever ``dit_accel.accelerate`` installed.
            callback_on_step_end: ``f(pipe, step, timestep, tensors)`` after each step; may return
                replacements for ``tensors``.
            callback_on_step_end_tensor_inputs: names from ``latents`` (``[B, C, h, w]``) and
                ``prompt_embeds`` (``[2B, L, D]`` under guidance, unconditional first).

        Returns:
            Images, as an ``ImagePipelineOutput`` or a tuple of one.

        Raises:
            ValueError: before anything runs, for prompts and embeddings that contradict each other,
                a number of generators other than B, latents of another shape, a size that does not
                divide into patches, or a scheduler that does not suit the transformer's output.
        """
        with plan_applied(self, plan):
            check_run(num_inference_steps, output_type)
            size = PixArtSize.resolve(
                self, height, width, self.aspect_ratio_bins if use_resolution_binning else None
            )
            texts = PixArtTexts(
                prompt,
                negative_prompt,
                prompt_embeds,
                prompt_attention_mask,
                negative_prompt_embeds,
                negative_prompt_attention_mask,
                guided=guidance_scale > 1,
                num_images_per_prompt=num_images_per_prompt,
                clean_caption=clean_caption,
                max_sequence_length=max_sequence_length or self.default_max_sequence_length,
            )
            batch_size = texts.check(self, size.height, size.width, callback_steps)
            channels, factor = self.transformer.config.in_channels, self.vae_scale_factor
            shape = (batch_size, channels, size.height // factor, size.width // factor)
            check_noise_inputs(generator, latents, shape)
            step_callback = StepCallback(
                callback_on_step_end,
                callback_on_step_end_tensor_inputs,
                self._callback_tensor_inputs,
            )
            learned_variance = uses_learned_variance(self.transformer, self.scheduler)

            embeds, mask = guidance_rows(texts.encode(self, self.text_embedding_cache))
            conditions = _Conditions(
                guidance_scale, mask, self._micro_conditions(size, embeds), learned_variance
            )
            device = self._execution_device
            times, num_inference_steps = retrieve_timesteps(
                self.scheduler, num_inference_steps, device, timesteps, sigmas
            )
            latents = self.prepare_latents(
                batch_size,
                channels,
                size.height,
                size.width,
                embeds.dtype,
                device,
                generator,
                latents,
            )
            latents = self._denoise(
                latents,
                embeds,
                conditions,
                times,
                num_inference_steps,
                self.prepare_extra_step_kwargs(generator, eta),
                step_callback,
                _LegacyCallback(callback, callback_steps, self.scheduler.order),
            )
            images = self._decoded(latents, size, output_type)
            self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _micro_conditions(
        self, size: PixArtSize, embeds: torch.Tensor
    ) -> dict[str, torch.Tensor | None]:
        """Size and aspect ratio for each row of ``embeds``, where the transformer asks for them."""
        if not self.transformer.use_additional_conditions:
            return {"resolution": None, "aspect_ratio": None}
        resolution = torch.tensor([[size.height, size.width]])
        aspect_ratio = torch.tensor([[float(size.height / size.width)]])
        return {
            "resolution": resolution.to(embeds).repeat(len(embeds), 1),
            "aspect_ratio": aspect_ratio.to(embeds).repeat(len(embeds), 1),
        }

    def _denoise(
        self,
        latents: torch.Tensor,
        embeds: torch.Tensor,
        conditions: _Conditions,
        timesteps: torch.Tensor,
        num_inference_steps: int,
        step_arguments: dict[str, Any],
        callback: StepCallback,
        legacy_callback: _LegacyCallback,
    ) -> torch.Tensor:
        order = self.scheduler.order
        warmup = max(len(timesteps) - num_inference_steps * order, 0)
        # One-step distilled α models (DMD): the result is the prediction of the clean latents,
        # without the noise that DDPM adds.
        wanted = 1 if self.one_step_returns_prediction and num_inference_steps == 1 else 0
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(0)  # spares a lookup, and a device sync, in `step`
        with self.progress_bar(total=num_inference_steps) as progress_bar:
            for index, timestep in enumerate(timesteps):
                outputs = self.scheduler.step(
                    self._predict(latents, timestep, embeds, conditions),
                    timestep,
                    latents,
                    **step_arguments,
                    return_dict=False,
                )
                latents = outputs[min(wanted, len(outputs) - 1)]
                changed = callback(self, index, timestep, latents=latents, prompt_embeds=embeds)
                latents, embeds = changed["latents"], changed["prompt_embeds"]
                done = index + 1
                if done == len(timesteps) or (done > warmup and done % order == 0):
                    progress_bar.update()
                    legacy_callback(index, timestep, latents)
        return latents

    def _predict(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor,
        embeds: torch.Tensor,
        conditions: _Conditions,
    ) -> torch.Tensor:
        """The guided output of the transformer, in the channels the scheduler wants."""
        channels = latents.shape[1]
        guided = conditions.guidance_scale > 1
        rows = torch.cat([latents, latents]) if guided else latents
        rows = self.scheduler.scale_model_input(rows, timestep)
        prediction: torch.Tensor = self.transformer(
            rows,
            encoder_hidden_states=embeds,
            encoder_attention_mask=conditions.prompt_attention_mask,
            timestep=timestep.to(rows.device).expand(len(rows)),
            added_cond_kwargs=conditions.added_cond_kwargs,
            return_dict=False,
        )[0]
        if guided:
            uncond, cond = prediction.chunk(2)
            prediction = guided_prediction(cond, uncond, conditions.guidance_scale, channels)
        return prediction if conditions.learned_variance else prediction[:, :channels]

    def _decoded(self, latents: torch.Tensor, size: PixArtSize, output_type: str | None) -> Any:
        if output_type == "latent":
            return latents
        images = self.vae.decode(
            latents.to(self.vae.dtype) / self.vae.config.scaling_factor, return_dict=False
        )[0]
        if size.binned:
            images = self.image_processor.resize_and_crop_tensor(
                images, size.output_width, size.output_height
            )
        return self.image_processor.postprocess(images, output_type=output_type)
