"""Specs in, images out: an iterator that knows nothing of files, ranks or resuming."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import dit_accel
from dit_accel.errors import DitAccelError, UnsupportedError
from dit_accel.measure.timing import timed
from dit_accel.sampling.batch import ImageBatch, decode, denoise, encode_text
from dit_accel.sampling.determinism import deterministic_kernels
from dit_accel.sampling.loading import load_pipeline
from dit_accel.sampling.out_of_memory import free_memory, is_out_of_memory
from dit_accel.sampling.solvers import make_scheduler
from dit_accel.sampling.specs import SampleSpec

if TYPE_CHECKING:
    from dit_accel.sampling.preparing import PreparedSampling

Notify = Callable[[str], None]
_log: Notify = logging.getLogger(__name__).warning


@dataclass(frozen=True)
class BatchTiming:
    """The batch that an image was made in.

    Attributes:
        id: tells batches apart, over all processes.
        size: images that came of it.
        seconds: to denoise and decode it; encoding of texts is not in it.
    """

    id: str
    size: int
    seconds: float


@dataclass(frozen=True)
class Sample:
    """One finished image: uint8 [H, W, 3]."""

    spec: SampleSpec
    image: np.ndarray
    batch: BatchTiming


@dataclass(frozen=True)
class _Maker:
    """Everything that stays the same from batch to batch."""

    pipe: Any
    num_inference_steps: int
    guidance_scale: float
    size: dict[str, int | None]
    deterministic: bool

    def make(self, specs: Sequence[SampleSpec]) -> tuple[float, np.ndarray]:
        """Seconds of the batch, and its images uint8 [B, H, W, 3]."""
        batch = image_batch(specs, self.guidance_scale)
        with deterministic_kernels() if self.deterministic else nullcontext():
            conditions = encode_text(self.pipe, batch)
            return timed(lambda: self._images(batch, conditions), self.pipe._execution_device)

    def _images(self, batch: ImageBatch, conditions: dict[str, Any]) -> np.ndarray:
        latents = denoise(self.pipe, batch, conditions, self.num_inference_steps, **self.size)
        return to_uint8(decode(self.pipe, latents))


def generate(
    pipe: Any,
    specs: Iterable[SampleSpec],
    *,
    num_inference_steps: int,
    guidance_scale: float,
    batch_size: int,
    height: int | None = None,
    width: int | None = None,
    deterministic: bool = False,
    notify: Notify = _log,
) -> Iterator[Sample]:
    """Make the images of ``specs``, in their order, ``batch_size`` at a time.

    Every image has a generator of its own on the CPU, seeded by its spec, for its initial noise
    and for whatever the solver draws: it depends on its spec alone, up to rounding. When memory
    runs out, the batch is halved from then on.

    Args:
        pipe: a drop-in pipeline with its solver and plan installed, as ``ready_pipeline`` returns.
        specs: what to make; read as it is needed.
        num_inference_steps: steps of ``pipe.scheduler``.
        guidance_scale: classifier-free guidance above 1.
        batch_size: images at a time.
        height: pixels; the model's own by default.
        width: pixels; the model's own by default.
        deterministic: compute every batch with deterministic kernels and at the full batch size
            (a short one is filled up with copies of its last spec, which are dropped), so that
            the same batch comes out the same to the bit; memory that runs out is an error then.
        notify: told in one line when the batch is halved.

    Yields:
        Samples, as soon as their batch is finished.

    Raises:
        DitAccelError: memory runs out at one image, or at all under ``deterministic``; or an
            operation has no deterministic kernel.
    """
    size = {"height": height, "width": width}
    maker = _Maker(pipe, num_inference_steps, guidance_scale, size, deterministic)
    waiting = iter(specs)
    while chunk := list(islice(waiting, batch_size)):
        made = _attempt(maker, _filled(chunk, batch_size) if deterministic else chunk)
        if isinstance(made, str):
            free_memory(pipe)
            batch_size = _smaller(len(chunk), made, deterministic)
            notify(f"{made}; going on with batches of {batch_size}")
            waiting = chain(chunk, waiting)
            continue
        seconds, images = made
        timing = BatchTiming(uuid.uuid4().hex, len(chunk), seconds)
        for spec, image in zip(chunk, images[: len(chunk)], strict=True):
            yield Sample(spec, image, timing)


def ready_pipeline(prepared: PreparedSampling, device: str | torch.device) -> Any:
    """The model of a prepared set on ``device``, with its solver and plan installed."""
    config = prepared.config
    pipe = load_pipeline(config.model, config.dtype, device)
    pipe.scheduler = make_scheduler(config.scheduler, pipe.scheduler.config)
    return dit_accel.accelerate(pipe, prepared.plan)


def to_uint8(images: torch.Tensor) -> np.ndarray:
    """Images [B, 3, H, W] in [0, 1] as uint8 [B, H, W, 3], rounded as diffusers does."""
    pixels: np.ndarray = (images.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    return np.ascontiguousarray(pixels)


def _attempt(maker: _Maker, specs: Sequence[SampleSpec]) -> tuple[float, np.ndarray] | str:
    """The batch, or what was said when memory ran out.

    The exception ends here: until it is gone, its traceback keeps the tensors of the batch alive.
    """
    try:
        return maker.make(specs)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return f"out of memory with a batch of {len(specs)} ({_said(error)})"
        if maker.deterministic and "deterministic" in str(error):
            remedy = "set 'deterministic: false', or leave out the method that needs it"
            raise UnsupportedError(f"deterministic: {_said(error)}; {remedy}") from error
        raise


def _said(error: BaseException) -> str:
    """The first line of an exception's message, or its name where it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]


def _smaller(size: int, said: str, deterministic: bool) -> int:
    if deterministic:
        remedy = "choose a smaller batch_size: with 'deterministic: true' it is part of the result"
        raise DitAccelError(f"batch_size: {said}; {remedy}")
    if size == 1:
        remedy = "free the device's memory, or choose dtype bfloat16, a smaller size or model"
        raise DitAccelError(f"batch_size: {said}, which cannot be halved; {remedy}")
    return size // 2


def _filled(specs: Sequence[SampleSpec], batch_size: int) -> list[SampleSpec]:
    return [*specs, *[specs[-1]] * (batch_size - len(specs))]


def image_batch(specs: Sequence[SampleSpec], guidance_scale: float) -> ImageBatch:
    """The batch of these specs, in their order.

    Raises:
        DitAccelError: some have a label and some a prompt.
    """
    seeds = tuple(spec.seed for spec in specs)
    labels = tuple(spec.class_label for spec in specs if spec.class_label is not None)
    prompts = tuple(spec.prompt for spec in specs if spec.prompt is not None)
    if (len(labels), len(prompts)) not in ((len(specs), 0), (0, len(specs))):
        raise DitAccelError(
            f"specs: {specs[0].index} to {specs[-1].index} have {len(labels)} labels and "
            f"{len(prompts)} prompts, expected one sort for all; give every spec one of the two"
        )
    return ImageBatch(seeds, guidance_scale, labels or None, prompts or None)
