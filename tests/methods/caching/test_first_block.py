"""First-block caching against diffusers' own, and against a reference made of torch hooks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.hooks import FirstBlockCacheConfig, HookRegistry, apply_first_block_cache
from diffusers.hooks.hooks import CacheContext, _set_cache_context
from references import ForecastingBlocks, record
from tiny_models import TinyFamily, decisions, every_family, modes

import dit_accel
from dit_accel.methods.caching.cache import CacheConfig

STEPS = 12
THRESHOLDS = {"dit": [0.1, 0.2, 0.5], "alpha": [0.3, 0.4], "sigma": [0.3, 0.4]}


def accelerated_run(
    family: TinyFamily, samples: tuple[int, ...], threshold: Any, **fields: Any
) -> tuple[list[torch.Tensor], Any]:
    transformer = family.transformer(dtype=torch.float64)
    policy = {"kind": "first_block", "threshold": threshold}
    dit_accel.accelerate(transformer, {"cache": {"policy": policy, **fields}})
    with dit_accel.run(transformer, timesteps=STEPS):
        steps = list(family.steps_of(transformer, samples, STEPS, "none"))
    return steps, transformer


@every_family
def test_reuse_on_a_batch_of_one_equals_diffusers_own(family: TinyFamily) -> None:
    skipped = 0
    for threshold in THRESHOLDS[family.name]:
        got, transformer = accelerated_run(family, (1,), threshold, predictor="reuse")
        skipped += modes(transformer).count("none")
        theirs = family.transformer(dtype=torch.float64)
        apply_first_block_cache(theirs, FirstBlockCacheConfig(threshold=threshold))
        HookRegistry.check_if_exists_or_initialize(theirs)
        _set_cache_context(theirs, CacheContext("run"))
        expected = list(family.steps_of(theirs, (1,), STEPS, "none"))
        for mine, other in zip(got, expected, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)
    assert skipped >= 3


@every_family
@pytest.mark.parametrize(
    ("fields", "order"),
    [
        ({"predictor": "polynomial"}, 1),
        ({"predictor": {"kind": "polynomial", "order": 2}, "site": "block"}, 2),
    ],
)
def test_forecasts_agree_with_a_reference_made_of_torch_hooks(
    family: TinyFamily, fields: dict[str, Any], order: int
) -> None:
    threshold = THRESHOLDS[family.name][-1]
    got, transformer = accelerated_run(family, (1,), threshold, **fields)
    decided = modes(transformer)
    assert {"all", "none"} <= set(decided)
    reference = family.transformer(dtype=torch.float64)
    blocks = ForecastingBlocks(reference, first=1, order=order)
    steps = family.steps_of(reference, (1,), STEPS, "none")
    for step, mode in enumerate(decided):
        blocks.step, blocks.computes = step, mode == "all"
        torch.testing.assert_close(next(steps), got[step], rtol=1e-8, atol=1e-8)


@every_family
def test_a_sample_is_computed_when_its_first_residual_changed_by_more_than_the_threshold(
    family: TinyFamily,
) -> None:
    told_apart = 0
    for threshold in THRESHOLDS[family.name]:
        transformer = family.transformer(dtype=torch.float64)
        inputs, outputs, _ = record([transformer.transformer_blocks[0]])
        cache = {"policy": {"kind": "first_block", "threshold": threshold}}
        dit_accel.accelerate(transformer, {"cache": cache})
        with dit_accel.run(transformer, timesteps=STEPS):
            family.denoise(transformer, (1, 2, 3), STEPS, "none")
        residuals = [after - before for before, after in zip(inputs[0], outputs[0], strict=True)]
        expected = rule(residuals, threshold)
        assert decisions(transformer) == expected
        told_apart += sum(len(set(needed)) == 2 for needed in expected)
    assert told_apart >= 2


def rule(residuals: list[torch.Tensor], threshold: float) -> list[tuple[bool, ...]]:
    """The decisions of diffusers' rule, for each sample alone."""
    reference: list[torch.Tensor | None] = [None] * len(residuals[0])
    found = []
    for residual in residuals:
        needed = []
        for sample, now in enumerate(residual):
            old = reference[sample]
            change = None if old is None else (now - old).abs().mean() / old.abs().mean()
            needed.append(change is None or bool(change > threshold))
            if needed[-1]:
                reference[sample] = now
        found.append(tuple(needed))
    return found


@every_family
def test_the_threshold_may_follow_a_schedule(family: TinyFamily) -> None:
    schedule = {"schedule": "steps", "values": [0, 1000, 0], "at": [0.3, 0.7]}
    _, transformer = accelerated_run(family, (1,), schedule)
    assert modes(transformer) == ["all"] * 4 + ["none"] * 4 + ["all"] * 4


@every_family
def test_the_first_block_is_always_fresh(family: TinyFamily) -> None:
    transformer = family.transformer()
    ran: list[int] = []
    transformer.transformer_blocks[0].attn1.register_forward_pre_hook(lambda *_: ran.append(1))
    dit_accel.accelerate(
        transformer, {"cache": {"policy": {"kind": "first_block", "threshold": 1000}}}
    )
    with dit_accel.run(transformer, timesteps=5):
        family.denoise(transformer, steps=5)
    assert len(ran) == 5
    assert modes(transformer) == ["all", "none", "none", "none", "none"]


@every_family
def test_only_the_rows_that_need_it_go_through_the_blocks(family: TinyFamily) -> None:
    transformer = family.transformer()
    inputs, _, _ = record([block.attn1 for block in transformer.transformer_blocks])
    plan = {"cache": {"policy": {"kind": "first_block", "threshold": 0.2}}}
    dit_accel.accelerate(transformer, plan)
    latents = torch.randn(8, 4, 8, 8)
    moved = latents.clone()
    moved[5] = torch.randn(4, 8, 8)
    condition = family.condition(tuple(range(8)), torch.float32)
    with torch.no_grad(), dit_accel.run(transformer, 2, guidance=False):
        for x in (latents, moved):
            family.predict(transformer, x, 500, condition)
    assert [[len(x) for x in layer] for layer in inputs] == [[8, 8], [8, 2], [8, 2], [8, 2]]


def test_a_kept_matching_contradicts_decisions_by_sample() -> None:
    cache = CacheConfig(policy="first_block")
    assert cache.conflicts_with(dit_accel.Plan(cache=cache)) is None
