"""What can't be done is refused when it is asked for, and the message names the remedy."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DModel
from tiny_models import FAMILIES, TinyFamily

import dit_accel
from dit_accel.errors import DitAccelError
from dit_accel.install import installation_of

POOLED = {"density": {"kind": "pooled", "pool": 2}}


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ({"cahce": {"policy": "interval"}}, ["cahce", "cache"]),
        ({"cache": {"policy": "intervall"}}, ["intervall", "did you mean kind: interval"]),
        (
            {"cache": {"policy": {"kind": "interval", "interval": 0}}},
            ["cache.policy.interval", "got 0", "1"],
        ),
        (
            {"cache": {"predictor": {"kind": "polynomial", "order": 7}, "policy": "interval"}},
            ["cache.predictor.order", "got 7", "3"],
        ),
        (
            {"cache": {"policy": {"kind": "interval", "interval": "x"}}},
            ["cache.policy.interval", '"x"'],
        ),
        ({"merge": {"kind": "tome2d", "ratio": -0.1}}, ["merge.ratio", "-0.1", "0"]),
        ({"merge": {"kind": "tome2d", "ratio": 0.9}}, ["merge.ratio", "0.75", "stride"]),
        ({"merge": {"kind": "tome2d", "at": ["ff"]}}, ["merge.at", "feed_forward"]),
        ({"density": {"kind": "pooled"}}, ["density", "pool", "grid"]),
        ({"attention": {"kind": "kv_downsample", "factr": 2}}, ["factr", "factor"]),
        (
            {**POOLED, "merge": {"kind": "tome2d"}},
            ["density (pooled", "merge (tome2d", "do not overlap"],
        ),
        (
            {
                "cache": {"policy": "first_block"},
                "merge": {"kind": "tome2d", "reuse_steps": 2},
            },
            ["first_block", "reuse_steps", "interval"],
        ),
        ("balancd", ["balancd"]),
    ],
)
def test_wrong_plans_name_the_field_and_the_remedy(
    layout: TinyFamily, plan: Any, told: list[str]
) -> None:
    transformer = layout.transformer()
    with pytest.raises(dit_accel.PlanError) as refused:
        dit_accel.accelerate(transformer, plan)
    message = str(refused.value)
    assert [words for words in told if words not in message] == []
    assert installation_of(transformer) is None


def test_layers_outside_the_model_name_the_layers_there_are(family: TinyFamily) -> None:
    plan = {"density": {"kind": "pooled", "pool": 2, "layers": [3, 6]}}
    with pytest.raises(dit_accel.PlanError, match=r"density\.layers.*4 layers \(0\.\.3\)"):
        dit_accel.accelerate(family.transformer(), plan)


def test_steps_outside_the_run_are_refused_when_it_begins(layout: TinyFamily) -> None:
    plan = {"density": {"kind": "pooled", "pool": 2, "steps": [4, 9]}}
    pipe = dit_accel.accelerate(layout.pipeline(), plan)
    with pytest.raises(dit_accel.PlanError, match=r"density\.steps.*6 steps"):
        layout.generate(pipe, steps=6)
    assert layout.generate(pipe, steps=10).isfinite().all()


def test_methods_that_meet_in_this_model_alone_are_refused(family: TinyFamily) -> None:
    plan = {
        "density": {"kind": "pooled", "pool": 2, "layers": [0, 2]},
        "merge": {"kind": "tome2d", "layers": [0.25, 1.0]},
    }
    with pytest.raises(dit_accel.PlanError, match=r"density \(pooled.*merge \(tome2d"):
        dit_accel.accelerate(family.transformer(), plan)
    dit_accel.accelerate(family.transformer(num_layers=8), plan)


def test_a_first_block_cache_needs_a_second_block(family: TinyFamily) -> None:
    transformer = family.transformer(num_layers=1)
    before = {name: set(vars(module)) for name, module in transformer.named_modules()}
    with pytest.raises(DitAccelError, match=r"cache\.policy: .*1 block.*use policy interval"):
        dit_accel.accelerate(transformer, {"cache": {"policy": "first_block"}})
    assert {name: set(vars(module)) for name, module in transformer.named_modules()} == before


def test_a_model_class_that_is_not_supported_is_named_beside_those_that_are() -> None:
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        norm_num_groups=4,
    )
    with pytest.raises(dit_accel.UnsupportedError) as refused:
        dit_accel.accelerate(unet, POOLED)
    for name in ("UNet2DModel", "DiTTransformer2DModel", "PixArtTransformer2DModel"):
        assert name in str(refused.value)


@pytest.mark.parametrize("target", [object(), AutoencoderKL, None, "DiT-XL-2-256"])
def test_what_has_no_transformer_is_refused(target: Any) -> None:
    with pytest.raises(dit_accel.UnsupportedError, match="has no transformer"):
        dit_accel.accelerate(target, POOLED)


@pytest.mark.parametrize("plan", [POOLED, {"merge": {"kind": "tome2d"}}])
def test_a_mask_over_image_tokens_is_refused(plan: dict[str, Any]) -> None:
    family = FAMILIES["sigma"]
    transformer = dit_accel.accelerate(family.transformer(), plan)
    condition = family.condition((1,), torch.float32) | {"attention_mask": torch.ones(1, 64)}
    with pytest.raises(dit_accel.UnsupportedError, match="attention_mask"):
        family.predict(transformer, torch.randn(1, 4, 8, 8), 500, condition)


def test_fused_projections_are_refused_by_key_value_pooling() -> None:
    family = FAMILIES["sigma"]
    transformer = family.transformer()
    transformer.fuse_qkv_projections()
    dit_accel.accelerate(transformer, {"attention": {"kind": "kv_downsample", "factor": 2}})
    with pytest.raises(dit_accel.UnsupportedError, match="unfuse_qkv_projections"):
        family.denoise(transformer, (1,), steps=2)
