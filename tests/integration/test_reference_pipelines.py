"""Every method on both trained pipelines: DiT by class, and PixArt by prompt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from plans import NEUTRAL_PLANS, PLANS
from reference_batches import batch_of, latents_of
from references import record
from tiny_models import calls_of, decisions

import dit_accel
from dit_accel.install import installation_of
from dit_accel.measure.architectures import load_architecture
from dit_accel.measure.macs import count_macs
from dit_accel.measure.plan_macs import Workload, run_cost
from dit_accel.sampling.batch import denoise, encode_text

_dense: dict[tuple[int, float], torch.Tensor] = {}


def dense_latents(pipe: Any, guidance: float = 2.0) -> torch.Tensor:
    """Of the first sample; made once a pipeline and compared with many."""
    key = (id(pipe), guidance)
    if key not in _dense:
        _dense[key] = latents_of(pipe, guidance=guidance)
    return _dense[key]


@pytest.fixture
def in_dtype(reference_pipeline: Any) -> Iterator[Any]:
    """Converts the shared pipeline; it is float32 again after the test."""
    yield lambda dtype: reference_pipeline.to(dtype)
    dit_accel.restore(reference_pipeline).to(torch.float32)


@pytest.mark.parametrize("plan", [{}, NEUTRAL_PLANS["all"]], ids=["empty", "neutral"])
def test_a_plan_that_asks_for_nothing_is_dense_bit_for_bit(
    reference_pipeline: Any, plan: dict[str, Any]
) -> None:
    expected = dense_latents(reference_pipeline)
    dit_accel.accelerate(reference_pipeline, plan)
    assert torch.equal(latents_of(reference_pipeline), expected)


@pytest.mark.parametrize("name", PLANS)
def test_every_plan_acts_and_remembers_nothing_of_other_runs(
    reference_pipeline: Any, name: str
) -> None:
    expected = dense_latents(reference_pipeline)
    # Caches that decide forecast whatever they may, so that no test depends on the weights.
    dit_accel.accelerate(reference_pipeline, with_threshold(PLANS[name], 1e3))
    first = latents_of(reference_pipeline)
    assert first.isfinite().all() and not torch.equal(first, expected)
    latents_of(reference_pipeline, (3,), steps=4)  # another seed, condition and length
    assert torch.equal(latents_of(reference_pipeline), first)
    installation = installation_of(reference_pipeline)
    assert installation is not None and installation.nbytes == 0


def with_threshold(plan: dict[str, Any], threshold: float) -> dict[str, Any]:
    """The same plan with another threshold, where its cache has one."""
    cache = plan.get("cache")
    if not isinstance(cache, dict) or "threshold" not in cache["policy"]:
        return plan
    return {**plan, "cache": {**cache, "policy": {**cache["policy"], "threshold": threshold}}}


def test_a_sample_does_not_depend_on_its_batch(reference_pipeline: Any, in_dtype: Any) -> None:
    """With every method at once, and a threshold at which the second step tells the two apart."""
    pipe, plan = in_dtype(torch.float64), PLANS["combined"]
    threshold = float(torch.stack(first_block_changes(pipe, plan, (0, 1))).mean())
    dit_accel.accelerate(pipe, with_threshold(plan, threshold))
    together = latents_of(pipe, (0, 1))
    needed = decisions(pipe)
    assert sorted(needed[1]) == [False, True]
    for place, sample in enumerate((0, 1)):
        alone = latents_of(pipe, (sample,))
        torch.testing.assert_close(alone[0], together[place], rtol=1e-8, atol=1e-8)
        assert [own for (own,) in decisions(pipe)] == [both[place] for both in needed]


def first_block_changes(
    pipe: Any, plan: dict[str, Any], samples: tuple[int, int]
) -> list[torch.Tensor]:
    """By how much the first block's residual changes from step 0 to 1, for each of two samples."""
    inputs, outputs, (handle,) = record([pipe.transformer.transformer_blocks[0]])
    dit_accel.accelerate(pipe, with_threshold(plan, 0.0))
    latents_of(pipe, samples)
    handle.remove()
    old, now = (after - before for before, after in zip(inputs[0][:2], outputs[0][:2], strict=True))
    rows = (now - old).abs().mean((1, 2)) / old.abs().mean((1, 2))
    return [rows[sample::2].max() for sample in range(2)]  # the larger of its guidance rows


def test_restored_after_every_method_at_once_it_is_dense_again(reference_pipeline: Any) -> None:
    expected = dense_latents(reference_pipeline)
    dit_accel.accelerate(reference_pipeline, PLANS["combined"])
    latents_of(reference_pipeline, steps=2)
    assert torch.equal(latents_of(dit_accel.restore(reference_pipeline)), expected)


def test_without_guidance_every_row_is_a_sample(reference_pipeline: Any) -> None:
    expected = dense_latents(reference_pipeline, guidance=1.0)
    dit_accel.accelerate(reference_pipeline, PLANS["combined"])
    latents = latents_of(reference_pipeline, guidance=1.0)
    assert latents.shape == expected.shape and not torch.equal(latents, expected)
    assert {call.rows for call in calls_of(reference_pipeline)} == {1}


def test_half_precision_is_not_widened(reference_pipeline: Any, in_dtype: Any) -> None:
    pipe = dit_accel.accelerate(in_dtype(torch.bfloat16), PLANS["combined"])
    latents = latents_of(pipe)
    assert latents.dtype == torch.bfloat16 and latents.isfinite().all()
    channels = pipe.transformer.config.in_channels
    assert latents.shape[:2] == (1, channels)


def test_macs_are_those_of_a_real_run_with_real_prompts(reference_pipeline: Any) -> None:
    """At the model's own size; a run pads its texts to as many tokens as are counted."""
    pipe, plan = reference_pipeline, dit_accel.Plan.load(PLANS["kv_downsample"])
    architecture = load_architecture(pipe.config._name_or_path)
    batch = batch_of(pipe, (0,))
    conditions = encode_text(pipe, batch)
    dit_accel.accelerate(pipe, plan)
    with count_macs() as counter:
        latents = denoise(pipe, batch, conditions, 1)
    assert latents.shape[-2:] == architecture.latent_size(None, None)
    cost = run_cost(architecture, plan, Workload(1, text_tokens=architecture.default_text_tokens))
    assert counter.total == cost.macs_plan < cost.macs_dense
    if batch.prompts is not None:
        assert conditions["prompt_embeds"].shape[1] == architecture.default_text_tokens
        assert calls_of(pipe)[0].text_tokens == architecture.default_text_tokens
