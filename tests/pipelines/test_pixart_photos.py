"""Our PixArt pipeline on the trained one that ships, beside the stock pipeline."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    UniPCMultistepScheduler,
)
from diffusers import PixArtSigmaPipeline as StockPixArtSigmaPipeline

import dit_accel
import dit_accel.pipelines.pixart as pixart_file
from dit_accel import Plan, reference_models
from dit_accel.backbones import find_backbone
from dit_accel.pipelines import PixArtSigmaPipeline

PROMPTS = ["a close view of the upper left of the astronaut photograph", "a photograph of a cat"]
PRESETS = ["quality", "balanced", "fast"]
FIRST_BLOCK = {"cache": {"policy": {"kind": "first_block", "threshold": 0.3}}}
# A quarter of the tokens, where the size of the picture does not matter.
SMALL = {"height": 64, "width": 64}
FOUR_STEPS = {
    "num_inference_steps": 4,
    "use_resolution_binning": False,
    "clean_caption": False,
    "max_sequence_length": 24,
    "output_type": "latent",
}
# name: class, changes to the shipped settings, arguments of the call
SCHEDULERS: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "shipped": (DPMSolverMultistepScheduler, {}, {}),
    "unipc": (UniPCMultistepScheduler, {}, {}),
    "ddim": (DDIMScheduler, {}, {}),
    "stochastic ddim": (DDIMScheduler, {}, {"eta": 1.0}),
    "ddpm": (DDPMScheduler, {"variance_type": "fixed_small"}, {}),
    "sde": (DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}, {}),
}


@pytest.fixture
def with_scheduler(
    stock_photos: Any, our_photos: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], dict[str, Any]]:
    """Give both pipelines a scheduler of that name for one test; return the call's arguments."""

    def change(name: str) -> dict[str, Any]:
        scheduler_class, changes, arguments = SCHEDULERS[name]
        shipped = stock_photos.scheduler.config
        for pipe in (stock_photos, our_photos):
            monkeypatch.setattr(pipe, "scheduler", scheduler_class.from_config(shipped, **changes))
        return arguments

    return change


@pytest.fixture
def seen(our_photos: Any) -> Any:
    """The arguments of each transformer call."""
    calls: list[dict[str, Any]] = []
    handle = our_photos.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append({**kwargs, "hidden_states": args[0]}),
        with_kwargs=True,
    )
    yield calls
    handle.remove()


def traces(pipe: Any) -> list[str]:
    """What a plan has left on a pipeline."""
    left = [
        name
        for name, module in pipe.transformer.named_modules()
        if {"forward", "_diffusers_hook"} & set(vars(module)) or module._forward_hooks
    ]
    return left + [name for name in ("step", "set_timesteps") if name in vars(pipe.scheduler)]


def test_the_three_ways_to_load_agree(
    stock_photos: Any, our_photos: Any, load_custom: Any, draw: Any, generators: Any
) -> None:
    custom = load_custom(reference_models.find("pixart-photos"), pixart_file.__file__)
    assert type(our_photos) is PixArtSigmaPipeline
    assert isinstance(custom, StockPixArtSigmaPipeline)
    assert type(custom).__name__ == "PixArtSigmaPipeline"
    pictures = [
        draw(pipe, PROMPTS[0], generator=generators(3), output_type="np")
        for pipe in (stock_photos, our_photos, custom)
    ]
    assert pictures[0].shape == (1, 128, 128, 3)
    assert all(np.array_equal(pictures[0], other) for other in pictures[1:])


def test_the_stock_defaults_give_the_stock_picture(
    stock_photos: Any, our_photos: Any, generators: Any
) -> None:
    """300 text tokens and cleaned captions; binning is the one default that has to go."""
    arguments = {"num_inference_steps": 2, "use_resolution_binning": False}
    pictures = [
        pipe(PROMPTS, generator=generators(0, 1), **arguments).images
        for pipe in (stock_photos, our_photos)
    ]
    assert [picture.size for picture in pictures[0]] == [(128, 128)] * 2
    for stock, ours in zip(*pictures, strict=True):
        assert np.array_equal(np.asarray(stock), np.asarray(ours))


@pytest.mark.parametrize("guidance_scale", [1.0, 4.5])
@pytest.mark.parametrize("scheduler", list(SCHEDULERS))
def test_no_plan_and_the_empty_plan_equal_stock(
    stock_photos: Any,
    our_photos: Any,
    with_scheduler: Any,
    draw: Any,
    generators: Any,
    scheduler: str,
    guidance_scale: float,
) -> None:
    """Two prompts with a generator each, or the two guidance rows of one."""
    arguments = {**with_scheduler(scheduler), "guidance_scale": guidance_scale}
    if scheduler != "shipped":
        arguments |= SMALL
    seeds = (1,) if guidance_scale > 1 else (1, 2)
    prompts = PROMPTS[: len(seeds)]
    stock, ours, empty = [
        draw(pipe, prompts, generator=generators(*seeds), **arguments, **plan)
        for pipe, plan in [(stock_photos, {}), (our_photos, {}), (our_photos, {"plan": Plan()})]
    ]
    assert torch.equal(stock, ours)
    assert torch.equal(stock, empty)


def test_in_bfloat16_too(stock_photos: Any, draw: Any, generators: Any) -> None:
    folder = reference_models.find("pixart-photos")
    latents = []
    for pipeline_class in (StockPixArtSigmaPipeline, PixArtSigmaPipeline):
        pipe = pipeline_class.from_pretrained(folder, torch_dtype=torch.bfloat16)
        pipe.set_progress_bar_config(disable=True)
        latents.append(draw(pipe, PROMPTS[0], generator=generators(0), num_inference_steps=1))
    assert latents[0].dtype == torch.bfloat16
    assert torch.equal(*latents)


@pytest.mark.parametrize(("scheduler", "guidance_scale"), [("shipped", 4.5), ("sde", 1.0)])
def test_each_picture_equals_the_one_made_alone(
    our_photos: Any,
    with_scheduler: Any,
    draw: Any,
    generators: Any,
    scheduler: str,
    guidance_scale: float,
) -> None:
    """Image j of prompt i belongs to generator ``i * num_images_per_prompt + j``."""
    arguments = {**with_scheduler(scheduler), "guidance_scale": guidance_scale, **SMALL}
    together = draw(
        our_photos, PROMPTS, num_images_per_prompt=2, generator=generators(0, 1, 2, 3), **arguments
    )
    for index in (1, 2):
        alone = draw(our_photos, PROMPTS[index // 2], generator=generators(index), **arguments)
        torch.testing.assert_close(together[index], alone[0], rtol=1e-4, atol=1e-4)


def test_guidance_rows_are_negative_then_prompt(
    our_photos: Any, seen: Any, draw: Any, generators: Any
) -> None:
    """With two pictures a prompt: each half has the same latents in the same order."""
    draw(
        our_photos,
        PROMPTS,
        negative_prompt=["a cat", "the moon"],
        num_images_per_prompt=2,
        generator=generators(0, 1, 2, 3),
        num_inference_steps=1,
        **SMALL,
    )
    with torch.no_grad():
        embeds, mask, negative, negative_mask = our_photos.encode_prompt(
            PROMPTS,
            negative_prompt=["a cat", "the moon"],
            num_images_per_prompt=2,
            max_sequence_length=24,
        )
    call = seen[0]
    assert torch.equal(call["encoder_hidden_states"], torch.cat([negative, embeds]))
    assert torch.equal(call["encoder_attention_mask"], torch.cat([negative_mask, mask]))
    assert torch.equal(*call["hidden_states"].chunk(2))


@pytest.mark.parametrize(
    ("guidance_scale", "seeds", "guided"),
    [(4.5, (0, 1), True), (1.0, (0, 1), False), (4.5, (0, 0), True), (1.0, (0, 0), True)],
)
def test_the_backbone_tells_guidance_by_equal_halves(
    our_photos: Any,
    seen: Any,
    draw: Any,
    generators: Any,
    guidance_scale: float,
    seeds: tuple[int, ...],
    guided: bool,
) -> None:
    """One seed twice without guidance looks like guidance, until the scheduler steps."""
    arguments = {"guidance_scale": guidance_scale, "num_inference_steps": 1, **SMALL}
    draw(our_photos, PROMPTS, generator=generators(*seeds), **arguments)
    transformer = our_photos.transformer
    backbone = find_backbone(transformer)
    assert backbone.is_guided(transformer, seen[0]["hidden_states"], seen[0]) is guided


@pytest.mark.parametrize("guidance_scale", [1.0, 4.5])
def test_decisions_by_sample_hold_with_one_seed_for_all(
    our_photos: Any, draw: Any, generators: Any, guidance_scale: float
) -> None:
    arguments: dict[str, Any] = {"plan": FIRST_BLOCK, "num_inference_steps": 4, **SMALL}
    arguments["guidance_scale"] = guidance_scale
    together = draw(our_photos, PROMPTS, generator=generators(5, 5), **arguments)
    for prompt, latents in zip(PROMPTS, together, strict=True):
        alone = draw(our_photos, prompt, generator=generators(5), **arguments)
        torch.testing.assert_close(latents, alone[0], rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def dense(shared_photos: Any) -> torch.Tensor:
    """Latents of four steps without a plan."""
    generator = torch.Generator().manual_seed(0)
    return shared_photos(PROMPTS[0], generator=[generator], **FOUR_STEPS).images


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_holds_for_its_call(
    our_photos: Any, dense: torch.Tensor, generators: Any, preset: str
) -> None:
    """The callback hears of every step, forecast or not, and nothing of the plan stays."""
    steps: list[int] = []
    forecast = our_photos(
        PROMPTS[0],
        generator=generators(0),
        plan=preset,
        callback_on_step_end=lambda pipe, step, timestep, tensors: steps.append(step),
        **FOUR_STEPS,
    ).images
    assert steps == list(range(4))
    assert forecast.isfinite().all()
    assert not torch.equal(forecast, dense)
    assert not traces(our_photos)


def test_restore_leaves_no_trace(our_photos: Any, dense: torch.Tensor, generators: Any) -> None:
    dit_accel.accelerate(our_photos, "balanced")
    assert traces(our_photos)
    our_photos(PROMPTS[0], **FOUR_STEPS)
    dit_accel.restore(our_photos)
    assert not traces(our_photos)
    again = our_photos(PROMPTS[0], generator=generators(0), **FOUR_STEPS).images
    assert torch.equal(again, dense)


def test_a_callback_replaces_tensors_under_a_plan(our_photos: Any, draw: Any) -> None:
    latents = draw(
        our_photos,
        PROMPTS[0],
        **SMALL,
        plan="fast",
        callback_on_step_end=lambda pipe, step, timestep, tensors: {
            "latents": torch.zeros_like(tensors["latents"])
        },
    )
    assert not latents.any()


def test_a_used_pipeline_can_be_pickled(our_photos: Any, draw: Any, generators: Any) -> None:
    """To hand it to another process; the cache of texts stays at home."""
    expected = draw(our_photos, PROMPTS[0], generator=generators(0), **SMALL)
    copied = pickle.loads(pickle.dumps(our_photos))
    assert len(copied.text_embedding_cache) == 0
    assert torch.equal(draw(copied, PROMPTS[0], generator=generators(0), **SMALL), expected)
