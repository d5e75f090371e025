"""Fitting a plan to a tiny pipeline, for tests."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler
from tiny_models import TinyFamily
from torch import Tensor

import dit_accel
from dit_accel import Plan

STEPS, GUIDANCE, SPEEDUP, SEEDS = 10, 2.0, 1.8, (1, 2)
LABELS = {"class_labels": [37, 74]}


def solver() -> DPMSolverMultistepScheduler:
    """One whose noise levels are its own, so that blocks and guidance are forecast."""
    return DPMSolverMultistepScheduler(use_karras_sigmas=True)


def fitted(pipe: Any, **changes: Any) -> Plan:
    settings: dict[str, Any] = {
        "num_inference_steps": STEPS,
        "guidance_scale": GUIDANCE,
        "speedup": SPEEDUP,
        "seeds": SEEDS,
        "conditions": LABELS,
    }
    return dit_accel.calibrate(pipe, **{**settings, **changes})


def calling_twice(pipe: Any) -> Any:
    """`pipe`, which calls its transformer once more than it has steps."""
    original = type(pipe).__call__

    class Twice(type(pipe)):  # type: ignore[misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            result = original(self, *args, **kwargs)
            self.transformer(torch.zeros(4, 4, 8, 8), torch.zeros(4), torch.zeros(4).long())
            return result

    pipe.__class__ = Twice
    return pipe


def equal_alone(
    family: TinyFamily, transformer: Any, samples: tuple[int, ...], num_steps: int
) -> None:
    """A sample's latents do not depend on the samples that it is denoised beside."""

    def final(some: tuple[int, ...]) -> Tensor:
        with dit_accel.run(transformer, num_steps, guidance=True):
            return family.denoise(transformer, some, num_steps)

    together = final(samples)
    for row, sample in enumerate(samples):
        torch.testing.assert_close(final((sample,))[0], together[row], rtol=1e-9, atol=1e-9)
