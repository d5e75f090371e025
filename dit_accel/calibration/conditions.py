"""What the trajectories of a calibration are conditioned on: given, or drawn from their seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from diffusers import PixArtTransformer2DModel

from dit_accel.errors import DitAccelError
from dit_accel.sampling.conditions import Cycled
from dit_accel.sampling.conditions.labels import ClassNames, UniformLabels


def conditions_for(
    pipe: Any, seeds: Sequence[int], given: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Arguments of the pipeline's call, with one entry a seed where they hold several.

    Args:
        pipe: the pipeline.
        seeds: of the trajectories.
        given: such arguments (`class_labels`, `prompt`, `prompt_embeds`, `height`, …); lists of
            labels and prompts may be shorter and are gone through again. Without any, classes are
            drawn from the seeds.

    Raises:
        DitAccelError: a text-conditional pipeline without prompts.
    """
    if given:
        return {key: _one_each(value, len(seeds)) for key, value in given.items()}
    if isinstance(pipe.transformer, PixArtTransformer2DModel):
        raise DitAccelError(
            "conditions: this pipeline reads texts, expected some to calibrate on; pass"
            " conditions={'prompt': [...]} (--prompt), like those it will be used with"
        )
    classes = _classes(pipe).numbers
    labels = [UniformLabels(classes, seed, 1)[0] for seed in seeds]
    return {"class_labels": labels}


def _classes(pipe: Any) -> ClassNames:
    # diffusers' DiTPipeline reads them from `id2label`; a table may have room for more classes.
    names: Mapping[str, int] = getattr(pipe, "labels", None) or {}
    return ClassNames(int(pipe.transformer.config.num_embeds_ada_norm), names)


def _one_each(value: Any, count: int) -> Any:
    if isinstance(value, list | tuple):
        return list(islice(Cycled(value, count), count)) if value else value
    return value


def of_samples(conditions: Mapping[str, Any], samples: Sequence[int], count: int) -> dict[str, Any]:
    """The arguments for some of `count` samples: lists and tensors of that length are picked."""

    def pick(value: Any) -> Any:
        if isinstance(value, list) and len(value) == count:
            return [value[sample] for sample in samples]
        if torch.is_tensor(value) and value.ndim and len(value) == count:
            return value[list(samples)]
        return value

    return {key: pick(value) for key, value in conditions.items()}
