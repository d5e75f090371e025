"""What our denoising loops share: plans, callbacks, noise, learned variance."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from diffusers import DDPMParallelScheduler, DDPMScheduler, DiffusionPipeline

if TYPE_CHECKING:
    from dit_accel.plan import PlanLike

Generators = torch.Generator | list[torch.Generator] | None
LEARNED_VARIANCE = ("learned", "learned_range")


@contextmanager
def plan_applied(pipe: DiffusionPipeline, plan: "PlanLike | None") -> Iterator[None]:
    """Hold ``plan`` on ``pipe`` for the duration of a call; None leaves what is installed."""
    if plan is None:
        yield
        return
    # Imported here so that the pipelines load, and run dense, without the rest of the package.
    import dit_accel

    with dit_accel.accelerated(pipe, plan):
        yield


@dataclass(frozen=True)
class StepCallback:
    """``callback_on_step_end`` with the names of the tensors it asked for.

    Args:
        function: called as ``function(pipe, step, timestep, tensors)``; may return a dict with
            replacements for some of the tensors. None calls nothing.
        tensor_inputs: the names to hand over.
        available: the names the pipeline has.

    Raises:
        ValueError: when a name is not available.
    """

    function: Callable[..., dict[str, Any] | None] | None
    tensor_inputs: Sequence[str]
    available: Sequence[str]

    def __post_init__(self) -> None:
        unknown = [name for name in self.tensor_inputs if name not in self.available]
        if unknown:
            raise ValueError(
                f"`callback_on_step_end_tensor_inputs` names {unknown}; "
                f"this pipeline has {list(self.available)}."
            )

    def __call__(
        self, pipe: DiffusionPipeline, step: int, timestep: torch.Tensor, **tensors: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Run the callback; return ``tensors`` with its replacements."""
        if self.function is None:
            return tensors
        asked = {name: tensors[name] for name in self.tensor_inputs}
        returned = self.function(pipe, step, timestep, asked) or {}
        return {name: returned.get(name, tensor) for name, tensor in tensors.items()}


def check_noise_inputs(
    generator: Generators, latents: torch.Tensor | None, shape: tuple[int, ...]
) -> None:
    """Refuse a generator list or initial latents that do not fit ``shape`` (``[B, C, h, w]``).

    Raises:
        ValueError: one generator a sample is needed, or none, or a single one for the batch.
    """
    if isinstance(generator, list) and len(generator) != shape[0]:
        raise ValueError(
            f"`generator` is a list of {len(generator)} for a batch of {shape[0]} samples: "
            "pass one generator a sample, a single generator, or None."
        )
    if latents is not None and tuple(latents.shape) != shape:
        raise ValueError(f"`latents` has shape {list(latents.shape)}, expected {list(shape)}.")


def check_run(num_inference_steps: int, output_type: str | None) -> None:
    """Refuse a run without steps or with an output that no pipeline makes.

    Raises:
        ValueError: naming the argument.
    """
    if num_inference_steps < 1:
        raise ValueError(f"`num_inference_steps` must be at least 1, got {num_inference_steps}.")
    if output_type not in ("pil", "np", "pt", "latent"):
        raise ValueError(
            f"`output_type` must be 'pil', 'np', 'pt' or 'latent', got {output_type!r}."
        )


def generator_arguments(scheduler: Any, generator: Generators) -> dict[str, Any]:
    """``{"generator": generator}`` if ``scheduler.step`` takes one, else nothing."""
    accepted = inspect.signature(scheduler.step).parameters
    return {"generator": generator} if "generator" in accepted else {}


def uses_learned_variance(transformer: Any, scheduler: Any) -> bool:
    """Whether the scheduler consumes the variance half of the transformer's output.

    A transformer with twice as many output as input channels predicts the noise and, in the upper
    half, an interpolation between the two bounds of the reverse variance (Nichol & Dhariwal 2021,
    arXiv:2102.09672, equation 15). Only DDPM schedulers can use it; for others it is dropped.

    Raises:
        ValueError: when the scheduler expects a learned variance and none is predicted, or when it
            would cut the prediction to the first three channels (what diffusers' DPM-Solver and SA
            solvers do under a learned ``variance_type``, right for RGB but not for latents).
    """
    channels = transformer.config.in_channels
    predicted = transformer.config.out_channels == 2 * channels
    expected = scheduler.config.get("variance_type") in LEARNED_VARIANCE
    name = type(scheduler).__name__
    if not expected:
        return False
    if isinstance(scheduler, DDPMScheduler | DDPMParallelScheduler):
        if not predicted:
            raise ValueError(
                f"{name} has variance_type {scheduler.config.variance_type!r}, but the transformer "
                f"predicts {transformer.config.out_channels} channels for {channels}: no variance. "
                f"Use {name}.from_config(pipe.scheduler.config, variance_type='fixed_small')."
            )
        return True
    if channels != 3:
        raise ValueError(
            f"{name} with variance_type {scheduler.config.variance_type!r} keeps three of the "
            f"{channels} latent channels. "
            f"Use {name}.from_config(pipe.scheduler.config, variance_type=None)."
        )
    return False


def guided_prediction(
    cond: torch.Tensor, uncond: torch.Tensor, guidance_scale: float, channels: int
) -> torch.Tensor:
    """Classifier-free guidance of the noise; the variance half, if any, is the conditional one.

    Args:
        cond: prediction with the condition, ``[B, channels or 2 * channels, h, w]``.
        uncond: prediction without, same shape.
        guidance_scale: ``w`` in ``uncond + w * (cond - uncond)`` (arXiv:2207.12598, equation 6 in
            the convention where 1 is no guidance).
        channels: latent channels.

    Returns:
        Guided prediction, same shape as ``cond``.
    """
    noise, base = cond[:, :channels], uncond[:, :channels]
    guided = base + guidance_scale * (noise - base)
    return torch.cat([guided, cond[:, channels:]], dim=1)
