"""Measured ratios, against residuals taken by hand from a stock pipeline."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from calibrated_plans import GUIDANCE, LABELS, SEEDS, calling_twice
from tiny_models import FAMILIES, SIDE, TinyFamily, ddim

import dit_accel
from dit_accel.calibration.magnitudes import measure_ratios
from dit_accel.errors import DitAccelError, UnsupportedError
from dit_accel.install import installation_of
from dit_accel.methods.caching.policies.magnitude import Magnitude

STEPS = 5


def conditions(family: TinyFamily) -> dict[str, Any]:
    if family.condition_first:
        return LABELS
    embeds, mask = family.text(SEEDS, torch.float32)
    null, null_mask = family.text([0] * len(SEEDS), torch.float32)
    return {
        "prompt_embeds": embeds,
        "prompt_attention_mask": mask,
        "negative_prompt": None,
        "negative_prompt_embeds": null,
        "negative_prompt_attention_mask": null_mask,
        "height": SIDE,
        "width": SIDE,
        "use_resolution_binning": False,
    }


def residuals(pipe: Any, conditions: dict[str, Any]) -> list[torch.Tensor]:
    """What all blocks add, `[R, N, C]`, at each step of the stock pipeline."""
    starts: list[torch.Tensor] = []
    found: list[torch.Tensor] = []
    blocks = pipe.transformer.transformer_blocks
    hooks = [
        blocks[0].register_forward_pre_hook(lambda module, args: starts.append(args[0])),
        blocks[-1].register_forward_hook(
            lambda module, args, output: found.append(output - starts[-1])
        ),
    ]
    pipe(
        **conditions,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
        output_type="latent",
    )
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("name", ["dit", "alpha"])
def test_ratios_are_those_of_the_dense_run(name: str) -> None:
    family = FAMILIES[name]
    pipe = family.pipeline(ddim())
    given = conditions(family)
    dit_accel.accelerate(pipe, "fast")  # neither in the way nor taken away
    ratios = measure_ratios(
        pipe, num_inference_steps=STEPS, guidance_scale=GUIDANCE, seeds=SEEDS, conditions=given
    )
    assert installation_of(pipe) is not None
    dit_accel.restore(pipe)
    norms = [each.double().norm(dim=-1) for each in residuals(pipe, given)]
    assert norms[0].shape[0] == 2 * len(SEEDS)
    expected = [float((now / old).mean()) for old, now in pairwise(norms)]
    assert ratios == pytest.approx([1.0, *expected], rel=1e-5)
    assert Magnitude(ratios=ratios).fits_run(STEPS) is None


def test_what_can_not_be_measured_is_refused() -> None:
    pipe = FAMILIES["dit"].pipeline(ddim())
    arguments: dict[str, Any] = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE}
    with pytest.raises(DitAccelError, match="seeds: got"):
        measure_ratios(pipe, seeds=(), **arguments)
    calling_twice(pipe)
    with pytest.raises(UnsupportedError, match="6 transformer calls in a run of 5 steps"):
        measure_ratios(pipe, seeds=SEEDS, conditions=LABELS, **arguments)
