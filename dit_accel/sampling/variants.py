"""The same pipeline with another plan or solver, ready to be timed beside the original."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

import dit_accel
from dit_accel.plan import Plan
from dit_accel.sampling.batch import ImageBatch, denoise
from dit_accel.sampling.solvers import make_scheduler


@dataclass(frozen=True)
class Variant:
    """One way of making a batch: a pipeline with its solver and plan, and a number of steps."""

    pipe: Any
    batch: ImageBatch
    conditions: dict[str, Any]
    num_inference_steps: int

    def denoise(self) -> torch.Tensor:
        """Run the denoising loop; latents [B, C, h, w]."""
        return denoise(self.pipe, self.batch, self.conditions, self.num_inference_steps)


def pipeline_variant(pipe: Any, scheduler: str, plan: Plan) -> Any:
    """A pipeline that shares weights with ``pipe`` and has a solver and a plan of its own.

    An empty plan shares the transformer itself. Any other gets modules of its own around the same
    parameters, so that variants can take turns without plans being put on and taken off, and
    ``torch.compile`` sees each plan apart.
    """
    variant = copy.copy(pipe)
    variant.scheduler = make_scheduler(scheduler, pipe.scheduler.config)
    if not plan.is_empty:
        variant.transformer = shared_copy(pipe.transformer)
        dit_accel.accelerate(variant, plan)
    return variant


def shared_copy(module: nn.Module) -> nn.Module:
    """Copy the modules, share the parameters and buffers."""
    tensors = [*module.parameters(), *module.buffers()]
    return copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})
