"""The call shared by our PixArt-α and PixArt-Σ pipelines."""

from collections.abc import Callable, Sequence
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
    plan_applied,
    uses_learned_variance,
)
from dit_accel.pipelines.pixart_bins import AspectRatioTables
from dit_accel.pipelines.pixart_size import PixArtSize
from dit_accel.pipelines.pixart_steps import LegacyCallback, PixArtSteps
from dit_accel.pipelines.pixart_texts import PixArtTexts, guidance_rows
from dit_accel.pipelines.text_embeddings import TextEmbeddingCache

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline as _StockPipeline

    from dit_accel.plan import PlanLike
else:
    # Not a DiffusionPipeline by itself: `custom_pipeline=` wants one pipeline class in a file, and
    # counts those that the file imports.
    _StockPipeline = object


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
    * Resolution binning knows the autoencoder: stock's tables are made for those of factor 8 and
      four sample sizes; with others the bins are theirs scaled, where stock draws at a multiple of
      the size or fails.
    """

    aspect_ratio_tables: ClassVar[AspectRatioTables]
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
            use_resolution_binning: generate at the nearest aspect ratio of a table of sizes that
                have about the tokens of the trained one, then resize and crop.
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
                self, height, width, self.aspect_ratio_tables if use_resolution_binning else None
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
                max_sequence_length=(
                    self.default_max_sequence_length
                    if max_sequence_length is None
                    else max_sequence_length
                ),
            )
            batch_size = texts.check(self, callback_steps)
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
            steps = PixArtSteps(
                guidance_scale=guidance_scale,
                attention_mask=mask,
                added_cond_kwargs=size.micro_conditions(self.transformer, embeds),
                learned_variance=learned_variance,
                returns_prediction=self.one_step_returns_prediction,
                step_arguments=self.prepare_extra_step_kwargs(generator, eta),
                callback=step_callback,
                legacy_callback=LegacyCallback(callback, callback_steps, self.scheduler.order),
            )
            latents = steps.run(self, latents, embeds, times, num_inference_steps)
            images = self._decoded(latents, size, output_type)
            self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _decoded(self, latents: torch.Tensor, size: PixArtSize, output_type: str | None) -> Any:
        if output_type == "latent":
            return latents
        images = self.vae.decode(
            latents.to(self.vae.dtype) / self.vae.config.scaling_factor, return_dict=False
        )[0]
        return self.image_processor.postprocess(size.fit(images), output_type=output_type)
