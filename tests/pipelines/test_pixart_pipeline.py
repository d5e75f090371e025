import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)

import dit_accel.pipelines.pixart as pixart_file
import dit_accel.pipelines.pixart_alpha as alpha_file
import dit_accel.pipelines.pixart_sigma as sigma_file
from dit_accel.pipelines import PixArtAlphaPipeline, PixArtSigmaPipeline

STEPS = 3
FAMILIES = {
    "alpha": (diffusers.PixArtAlphaPipeline, PixArtAlphaPipeline),
    "sigma": (diffusers.PixArtSigmaPipeline, PixArtSigmaPipeline),
}
SCHEDULERS = {
    "ddim": lambda: DDIMScheduler(clip_sample=False),
    "ddpm": lambda: DDPMScheduler(clip_sample=False),
    "dpmsolver++": lambda: DPMSolverMultistepScheduler(algorithm_type="dpmsolver++"),
    "unipc": lambda: UniPCMultistepScheduler(),
    "euler": lambda: EulerDiscreteScheduler(),
}
PLAIN = {"clean_caption": False, "use_resolution_binning": False, "num_inference_steps": STEPS}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=list(FAMILIES))
def family(request):
    return FAMILIES[request.param]


@pytest.mark.parametrize("guidance_scale", [1.0, 4.5])
@pytest.mark.parametrize("scheduler", list(SCHEDULERS))
def test_equals_stock_bit_for_bit(make_pixart, family, scheduler, guidance_scale):
    """A rectangle of two prompts, three images each, with as many noise draws as stock makes."""
    images = [
        make_pixart(pipeline_class, SCHEDULERS[scheduler]())(
            ["a cat", "a rocket on moon"],
            negative_prompt="blurry",
            guidance_scale=guidance_scale,
            num_images_per_prompt=3,
            height=16,
            width=24,
            generator=seeded(),
            output_type="pt",
            **PLAIN,
        ).images
        for pipeline_class in family
    ]
    assert images[0].shape == (6, 3, 16, 24)
    assert torch.equal(*images)


def test_micro_conditions_equal_stock(make_pixart):
    """Stock feeds them where sample_size is 128."""
    images = [
        make_pixart(pipeline_class, sample_size=128)(
            "a cat", height=16, width=24, generator=seeded(), output_type="np", **PLAIN
        ).images
        for pipeline_class in FAMILIES["alpha"]
    ]
    assert np.array_equal(*images)


def test_micro_conditions_follow_the_transformer(make_pixart):
    """At other sample sizes too: what they say then matters to the picture."""
    pipe = make_pixart(PixArtAlphaPipeline, use_additional_conditions=True)
    seen = []
    pipe.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["added_cond_kwargs"]), with_kwargs=True
    )
    pipe("a cat", height=16, width=32, **PLAIN)
    assert seen[0]["resolution"].tolist() == [[16, 32], [16, 32]]
    assert seen[0]["aspect_ratio"].tolist() == [[0.5], [0.5]]


def test_resolution_binning_equals_stock(make_pixart, family):
    images = [
        make_pixart(pipeline_class, sample_size=32, factor=8)(
            "a cat",
            height=40,
            width=60,
            num_inference_steps=1,
            clean_caption=False,
            generator=seeded(),
            output_type="pil",
        ).images[0]
        for pipeline_class in family
    ]
    assert images[0].size == (60, 40)
    assert np.array_equal(np.asarray(images[0]), np.asarray(images[1]))


@pytest.mark.parametrize("scheduler", ["ddim", "ddpm"])
def test_one_step_equals_stock(make_pixart, family, scheduler):
    """Stock α returns the prediction of the clean latents here, Σ the step."""
    images = [
        make_pixart(pipeline_class, SCHEDULERS[scheduler]())(
            "a cat", generator=seeded(), output_type="latent", **{**PLAIN, "num_inference_steps": 1}
        ).images
        for pipeline_class in family
    ]
    assert torch.equal(*images)


@pytest.mark.parametrize("learned", [False, True])
def test_ddpm_samples_depend_on_their_own_generator_alone(make_pixart, family, generators, learned):
    kind = "learned_range" if learned else "fixed_small"
    pipe = make_pixart(family[1], DDPMScheduler(clip_sample=False, variance_type=kind))
    prompts, arguments = ["a cat", "a dog"], {**PLAIN, "output_type": "latent"}
    torch.manual_seed(0)
    batch = pipe(prompts, generator=generators(1, 2), **arguments).images
    torch.manual_seed(99)
    alone = [
        pipe(prompt, generator=generators(seed), **arguments).images
        for prompt, seed in zip(prompts, [1, 2], strict=True)
    ]
    torch.testing.assert_close(batch, torch.cat(alone), rtol=1e-4, atol=1e-4)
    mates = pipe(prompts, generator=generators(1, 77), **arguments).images
    assert torch.equal(mates[0], batch[0])


def test_learned_variance_reaches_ddpm_only(make_pixart, generators):
    seen = []
    for kind in ("learned_range", "fixed_small"):
        scheduler = DDPMScheduler(clip_sample=False, variance_type=kind)
        pipe = make_pixart(PixArtSigmaPipeline, scheduler)
        original = scheduler.step
        scheduler.step = lambda output, *a, _step=original, **k: (
            seen.append(output.shape[1]),
            _step(output, *a, **k),
        )[1]
        pipe("a cat", **{**PLAIN, "num_inference_steps": 1})
    assert seen == [8, 4]


def test_equal_prompts_are_encoded_once_and_exactly(make_pixart, family, count_calls):
    pipe = make_pixart(family[1])
    calls = count_calls(pipe.text_encoder, "forward")
    arguments = {**PLAIN, "negative_prompt": "blurry", "output_type": "latent"}
    prompts = ["a cat", "a dog"]
    first = pipe(prompts, generator=seeded(), **arguments).images
    assert len(calls) == 2
    again = pipe(prompts, generator=seeded(), **arguments).images
    assert len(calls) == 2
    assert torch.equal(first, again)
    pipe.text_embedding_cache.clear()
    assert torch.equal(first, pipe(prompts, generator=seeded(), **arguments).images)
    assert len(calls) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a dog"},
        {"prompt": ["a cat", "a cat"]},
        {"negative_prompt": "a dog"},
        {"max_sequence_length": 7},
        {"guidance_scale": 1.0},
        {"num_images_per_prompt": 2},
    ],
)
def test_other_text_arguments_are_encoded_anew(make_pixart, count_calls, change):
    pipe = make_pixart(PixArtAlphaPipeline)
    calls = count_calls(pipe.text_encoder, "forward")
    arguments = {**PLAIN, "prompt": "a cat", "num_inference_steps": 1}
    pipe(**arguments)
    assert len(calls) == 2
    pipe(**{**arguments, **change})
    assert len(calls) > 2


def test_default_sequence_lengths_are_the_families(make_pixart):
    for pipeline_class, length in [(PixArtAlphaPipeline, 120), (PixArtSigmaPipeline, 300)]:
        pipe = make_pixart(pipeline_class)
        shapes = []
        pipe.transformer.register_forward_pre_hook(
            lambda module, args, kwargs, shapes=shapes: shapes.append(
                kwargs["encoder_hidden_states"].shape
            ),
            with_kwargs=True,
        )
        pipe("a cat", **{**PLAIN, "num_inference_steps": 1})
        assert shapes == [(2, length, 16)]


def test_a_replaced_text_encoder_is_used(make_pixart, make_text_encoder):
    arguments = {**PLAIN, "prompt": "a cat", "output_type": "latent"}
    pipe = make_pixart(PixArtAlphaPipeline)
    before = pipe(**arguments, generator=seeded()).images
    pipe.text_encoder = make_text_encoder(9)
    after = pipe(**arguments, generator=seeded()).images
    fresh = make_pixart(PixArtAlphaPipeline)
    fresh.text_encoder = make_text_encoder(9)
    assert not torch.equal(before, after)
    assert torch.equal(after, fresh(**arguments, generator=seeded()).images)


def test_a_callback_cannot_edit_the_cache(make_pixart):
    pipe = make_pixart(PixArtAlphaPipeline)
    arguments = {**PLAIN, "prompt": "a cat", "guidance_scale": 1.0, "output_type": "latent"}
    plain = pipe(**arguments, generator=seeded()).images

    def vandalise(pipeline, step, timestep, tensors):
        tensors["prompt_embeds"].zero_()

    edited = pipe(
        **arguments,
        generator=seeded(),
        callback_on_step_end=vandalise,
        callback_on_step_end_tensor_inputs=["prompt_embeds"],
    ).images
    assert not torch.equal(edited, plain)
    assert torch.equal(pipe(**arguments, generator=seeded()).images, plain)


def test_given_embeddings_equal_the_prompts_own(make_pixart, family):
    pipe = make_pixart(family[1])
    with torch.no_grad():
        embeds, mask, negative, negative_mask = pipe.encode_prompt("a cat", max_sequence_length=9)
    arguments = {**PLAIN, "output_type": "latent", "max_sequence_length": 9}
    given = pipe(
        prompt_embeds=embeds,
        prompt_attention_mask=mask,
        negative_prompt_embeds=negative,
        negative_prompt_attention_mask=negative_mask,
        generator=seeded(),
        **arguments,
    ).images
    assert torch.equal(given, pipe("a cat", generator=seeded(), **arguments).images)
    assert len(pipe.text_embedding_cache) == 1  # the call with the prompt


def test_callbacks(make_pixart):
    pipe = make_pixart(PixArtSigmaPipeline)
    steps, legacy = [], []

    def zero(pipeline, step, timestep, tensors):
        steps.append((step, int(timestep)))
        return {"latents": torch.zeros_like(tensors["latents"])}

    latents = pipe(
        "a cat",
        output_type="latent",
        callback=lambda step, t, latents: legacy.append((step, int(t))),
        callback_steps=2,
        callback_on_step_end=zero,
        **PLAIN,
    ).images
    times = pipe.scheduler.timesteps.tolist()
    assert steps == list(enumerate(times))
    assert legacy == [(0, times[0]), (2, times[2])]
    assert not latents.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": None}, "Provide either"),
        ({"prompt": []}, "empty list"),
        ({"prompt": 3}, "has to be of type"),
        ({"prompt": ["a cat", 3]}, "`prompt` must be a text or a list of texts, got 3"),
        ({"negative_prompt": b"a"}, "`negative_prompt` must be a text"),
        ({"negative_prompt": ["a", "b"]}, "list of 2 for 1 prompts"),
        ({"generator": [torch.Generator()] * 3}, "list of 3 for a batch of 1"),
        ({"num_images_per_prompt": 2, "latents": torch.zeros(1, 4, 8, 8)}, "expected \\[2, 4"),
        ({"height": 18}, "multiples of 4"),
        ({"width": 0}, "must be positive"),
        ({"max_sequence_length": 0}, "max_sequence_length"),
        ({"num_inference_steps": 0}, "at least 1"),
        ({"output_type": "jpeg"}, "output_type"),
        ({"callback_on_step_end_tensor_inputs": ["images"]}, "images"),
        ({"prompt_embeds": torch.zeros(1, 9, 16)}, "Cannot forward both"),
        ({"prompt": None, "prompt_embeds": torch.zeros(1, 9, 16)}, "`prompt_attention_mask`"),
        (
            {
                "prompt": None,
                "prompt_embeds": torch.zeros(1, 9, 16),
                "prompt_attention_mask": torch.ones(2, 9),
            },
            r"shape \[1, 9, 16\] and `prompt_attention_mask` \[2, 9\]",
        ),
        (
            {
                "prompt": None,
                "prompt_embeds": torch.zeros(1, 9, 15),
                "prompt_attention_mask": torch.ones(1, 9),
            },
            r"shape \[1, 9, 15\] .*expected \[P, L, 16\]",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_runs(
    make_pixart, family, count_calls, arguments, message
):
    pipe = make_pixart(family[1])
    calls = count_calls(pipe.text_encoder, "forward")
    with pytest.raises(ValueError, match=message):
        pipe(**{**PLAIN, "prompt": "a cat", **arguments})
    assert not calls


def test_no_text_encoder_is_named(make_pixart):
    pipe = make_pixart(PixArtAlphaPipeline)
    pipe.text_encoder = None
    with pytest.raises(ValueError, match="no text encoder"):
        pipe("a cat", **PLAIN)


def test_scheduler_and_output_must_suit_each_other(make_pixart, family):
    learned = DDPMScheduler(variance_type="learned_range")
    with pytest.raises(ValueError, match="predicts 4 channels for 4"):
        make_pixart(family[1], learned, out_channels=4)("a cat", **PLAIN)


def test_saved_pipeline_loads_as_stock_and_as_ours(make_pixart, family, tmp_path):
    stock_class, our_class = family
    pipe = make_pixart(our_class)
    assert isinstance(pipe, stock_class)
    pipe.save_pretrained(tmp_path)
    assert type(DiffusionPipeline.from_pretrained(tmp_path)) is stock_class
    assert type(our_class.from_pretrained(tmp_path)) is our_class


@pytest.mark.parametrize("name", list(FAMILIES))
def test_loads_as_custom_pipeline(make_pixart, load_custom, tmp_path, name):
    stock_class, our_class = FAMILIES[name]
    pipe = make_pixart(stock_class)
    folder = tmp_path / "pipe"
    pipe.save_pretrained(folder)
    arguments = {**PLAIN, "prompt": "a cat", "output_type": "latent"}
    expected = pipe(**arguments, generator=seeded()).images
    own_file = {"alpha": alpha_file, "sigma": sigma_file}[name].__file__
    for file in (pixart_file.__file__, own_file):
        loaded = load_custom(folder, file)
        assert isinstance(loaded, stock_class)
        assert type(loaded).__name__ == our_class.__name__
        ours = loaded(**arguments, generator=[seeded()], callback_on_step_end=None).images
        assert torch.equal(ours, expected)
    loaded.save_pretrained(tmp_path / "again")
    assert type(DiffusionPipeline.from_pretrained(tmp_path / "again")) is stock_class


def test_custom_pipeline_of_another_family_is_refused(make_dit, load_custom, tmp_path):
    make_dit(diffusers.DiTPipeline).save_pretrained(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"is a DiTPipeline; pixart\.py loads"):
        load_custom(tmp_path / "pipe", pixart_file.__file__)
