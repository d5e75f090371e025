"""One batch: seeds, conditions, and the two halves that are timed apart."""

from pathlib import Path

import pytest
import torch

from dit_accel import DitAccelError, Plan
from dit_accel.install import plan_of
from dit_accel.sampling.batch import ImageBatch, decode, denoise, encode_text
from dit_accel.sampling.loading import load_pipeline, pipeline_folder, pipeline_labels
from dit_accel.sampling.variants import Variant, pipeline_variant, shared_copy

PLAN = Plan.load({"cache": {"policy": {"kind": "interval", "interval": 2}}})


def latents(pipe: object, seeds: tuple[int, ...], labels: tuple[int, ...]) -> torch.Tensor:
    batch = ImageBatch(seeds, 2.0, class_labels=labels)
    return denoise(pipe, batch, encode_text(pipe, batch), 4)


def test_a_picture_depends_on_its_own_seed_and_label(tiny_pipeline: Path) -> None:
    pipe = load_pipeline(str(tiny_pipeline), "float32", "cpu")
    both = latents(pipe, (3, 4), (0, 2))
    assert torch.allclose(latents(pipe, (4,), (2,))[0], both[1], atol=1e-5)
    assert not torch.allclose(latents(pipe, (4,), (1,))[0], both[1], atol=1e-2)


def test_two_halves_make_the_pipelines_own_pictures(tiny_pipeline: Path) -> None:
    pipe = load_pipeline(str(tiny_pipeline), "float32", "cpu")
    expected = pipe(
        [1],
        guidance_scale=2.0,
        generator=[torch.Generator().manual_seed(5)],
        num_inference_steps=4,
        output_type="pt",
    ).images
    assert torch.equal(decode(pipe, latents(pipe, (5,), (1,))), expected)


def test_dtype_is_that_asked_for(tiny_pipeline: Path) -> None:
    pipe = load_pipeline(str(tiny_pipeline), "bfloat16", "cpu")
    assert pipe.transformer.dtype == torch.bfloat16
    images = decode(pipe, latents(pipe, (1,), (0,)))
    assert images.dtype == torch.float32 and images.shape == (1, 3, 32, 32)


def test_labels_come_from_the_files(tiny_pipeline: Path) -> None:
    assert pipeline_labels(tiny_pipeline) == {"cat": 0, "moon": 1, "rocket": 2}


def test_no_pipeline_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DitAccelError, match="dit-photos, pixart-photos, or a diffusers"):
        pipeline_folder(str(tmp_path))


def test_variants_share_weights_but_no_plan_or_solver(tiny_pipeline: Path) -> None:
    pipe = load_pipeline(str(tiny_pipeline), "float32", "cpu")
    variant = pipeline_variant(pipe, "UniPC", PLAN)
    pairs = zip(variant.transformer.parameters(), pipe.transformer.parameters(), strict=True)
    assert all(ours is theirs for ours, theirs in pairs)
    assert plan_of(variant) == PLAN and plan_of(pipe).is_empty
    assert type(pipe.scheduler).__name__ == "DDIMScheduler"
    dense = pipeline_variant(pipe, "UniPC", Plan())
    assert dense.transformer is pipe.transformer


def test_variant_computes_what_accelerate_would(tiny_pipeline: Path) -> None:
    import dit_accel

    pipe = load_pipeline(str(tiny_pipeline), "float32", "cpu")
    batch = ImageBatch((1,), 2.0, class_labels=(0,))
    variant = Variant(pipeline_variant(pipe, "DDIM", PLAN), batch, encode_text(pipe, batch), 4)
    with dit_accel.accelerated(pipe, PLAN):
        expected = latents(pipe, (1,), (0,))
    assert torch.equal(variant.denoise(), expected)
    assert not torch.equal(latents(pipe, (1,), (0,)), expected)


def test_shared_copy_shares_buffers(tiny_pipeline: Path) -> None:
    transformer = load_pipeline(str(tiny_pipeline), "float32", "cpu").transformer
    copied = shared_copy(transformer)
    assert copied is not transformer
    assert all(a is b for a, b in zip(copied.buffers(), transformer.buffers(), strict=True))
