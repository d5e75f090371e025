import itertools

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
from diffusers.utils.torch_utils import randn_tensor

import dit_accel.pipelines.dit as dit_file
from dit_accel.pipelines import DiTPipeline

STEPS = 4


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def same(a, b):
    return np.array_equal(np.asarray(a), np.asarray(b))


ODE_SCHEDULERS = {
    "ddim": lambda: DDIMScheduler(clip_sample=False),
    "dpmsolver++": lambda: DPMSolverMultistepScheduler(algorithm_type="dpmsolver++"),
    "unipc": lambda: UniPCMultistepScheduler(),
}


@pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
@pytest.mark.parametrize("out_channels", [4, 8])
@pytest.mark.parametrize("scheduler", list(ODE_SCHEDULERS))
def test_equals_stock_bit_for_bit(make_dit, scheduler, out_channels, guidance_scale):
    arguments = {
        "class_labels": [3, 999, 7],
        "num_inference_steps": STEPS,
        "guidance_scale": guidance_scale,
        "output_type": "pt",
    }
    make = ODE_SCHEDULERS[scheduler]
    stock = make_dit(diffusers.DiTPipeline, make(), out_channels)(**arguments, generator=seeded())
    ours = make_dit(DiTPipeline, make(), out_channels)(**arguments, generator=seeded())
    assert torch.equal(stock.images, ours.images)


@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
def test_output_types_equal_stock(make_dit, output_type):
    arguments = {"class_labels": [3], "num_inference_steps": 2, "output_type": output_type}
    (stock,) = make_dit(diffusers.DiTPipeline)(**arguments, generator=seeded(), return_dict=False)
    (ours,) = make_dit(DiTPipeline)(**arguments, generator=seeded(), return_dict=False)
    assert type(stock) is type(ours)
    assert same(stock[0], ours[0])


def test_ddpm_without_guidance_equals_stock(make_dit):
    """With guidance stock draws noise for twice the rows, so no seed can make them agree."""

    def images(pipeline_class):
        torch.manual_seed(5)
        pipe = make_dit(pipeline_class, DDPMScheduler(clip_sample=False))
        return pipe([1, 2], guidance_scale=1.0, num_inference_steps=STEPS, output_type="pt").images

    assert torch.equal(images(diffusers.DiTPipeline), images(DiTPipeline))


def test_latents_decode_to_the_images(make_dit):
    pipe = make_dit(DiTPipeline)
    arguments = {"class_labels": [3], "num_inference_steps": 2}
    latents = pipe(**arguments, generator=seeded(), output_type="latent").images
    images = pipe(**arguments, generator=seeded(), output_type="pt").images
    decoded = pipe.vae.decode(1 / pipe.vae.config.scaling_factor * latents).sample
    assert latents.shape == (1, 4, 8, 8)
    assert torch.equal((decoded / 2 + 0.5).clamp(0, 1), images)


def test_euler_follows_the_reference_loop_and_not_stock(make_dit):
    labels, scale = torch.tensor([3, 5]), 3.0
    pipe = make_dit(DiTPipeline, EulerDiscreteScheduler())
    arguments = {
        "class_labels": labels.tolist(),
        "guidance_scale": scale,
        "num_inference_steps": STEPS,
    }
    ours = pipe(**arguments, generator=seeded(), output_type="latent").images

    # Euler on dx/dsigma = eps in variance-exploding time, written out.
    scheduler = EulerDiscreteScheduler()
    scheduler.set_timesteps(STEPS)
    noise = torch.randn(2, 4, 8, 8, generator=seeded())
    x = noise * scheduler.init_noise_sigma
    with torch.no_grad():
        for i, t in enumerate(scheduler.timesteps):
            sigma, next_sigma = scheduler.sigmas[i], scheduler.sigmas[i + 1]
            scaled = x / (sigma**2 + 1) ** 0.5
            rows = torch.cat([scaled, scaled])
            classes = torch.cat([labels, torch.tensor([1000, 1000])])
            eps = pipe.transformer(rows, timestep=t.expand(4), class_labels=classes).sample[:, :4]
            eps = eps[2:] + scale * (eps[:2] - eps[2:])
            x = x + (next_sigma - sigma) * eps
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-4)

    # What stock does differently, so that a repair upstream is noticed here.
    stock_pipe = make_dit(diffusers.DiTPipeline, EulerDiscreteScheduler())
    stock = stock_pipe(**arguments, generator=seeded(), output_type="pt").images
    images = pipe(**arguments, generator=seeded(), output_type="pt").images
    assert not torch.allclose(stock, images, atol=1e-2)


@pytest.mark.parametrize("learned", [False, True])
def test_ddpm_samples_depend_on_their_own_generator_alone(make_dit, generators, learned):
    kind = "learned_range" if learned else "fixed_small"
    pipe = make_dit(DiTPipeline, DDPMScheduler(clip_sample=False, variance_type=kind))
    arguments = {"num_inference_steps": STEPS, "output_type": "latent"}

    torch.manual_seed(0)
    batch = pipe([3, 5, 7], generator=generators(10, 11, 12), **arguments).images
    global_state = torch.get_rng_state()
    torch.manual_seed(99)
    alone = [
        pipe([label], generator=generators(seed), **arguments).images
        for label, seed in [(3, 10), (5, 11), (7, 12)]
    ]
    torch.testing.assert_close(batch, torch.cat(alone), rtol=1e-4, atol=1e-4)
    torch.manual_seed(0)
    assert torch.equal(global_state, torch.get_rng_state())  # the batch drew nothing globally
    # A batch-mate of another seed changes nothing in the others, to the last bit.
    mates = pipe([3, 5, 7], generator=generators(10, 11, 77), **arguments).images
    assert torch.equal(mates[:2], batch[:2])
    assert not torch.equal(mates[2], batch[2])


def test_learned_variance_is_used_by_ddpm(make_dit, generators):
    """Against Nichol & Dhariwal's equations, written out."""
    scheduler = DDPMScheduler(clip_sample=False, variance_type="learned_range")
    pipe = make_dit(DiTPipeline, scheduler)
    ours = pipe(
        [3], generator=generators(4), guidance_scale=1.0, num_inference_steps=STEPS,
        output_type="latent",
    ).images  # fmt: skip

    cumulative = scheduler.alphas_cumprod.double()
    scheduler.set_timesteps(STEPS)
    times = [*scheduler.timesteps.tolist(), -1]
    (noise,) = generators(4)
    x = torch.randn(1, 4, 8, 8, generator=noise).double()
    with torch.no_grad():
        for t, previous in itertools.pairwise(times):
            output = pipe.transformer(
                x.float(), timestep=torch.tensor([t]), class_labels=torch.tensor([3])
            ).sample.double()
            eps, fraction = output[:, :4], (output[:, 4:] + 1) / 2
            a, a_prev = cumulative[t], cumulative[previous] if previous >= 0 else torch.tensor(1.0)
            beta = 1 - a / a_prev
            x0 = (x - (1 - a).sqrt() * eps) / a.sqrt()
            mean = (a_prev.sqrt() * beta * x0 + (a / a_prev).sqrt() * (1 - a_prev) * x) / (1 - a)
            low = ((1 - a_prev) / (1 - a) * beta).clamp(min=1e-20).log()
            log_variance = fraction * beta.log() + (1 - fraction) * low
            x = mean
            if t > 0:
                draw = randn_tensor((1, 4, 8, 8), generator=noise).double()
                x = mean + (log_variance / 2).exp() * draw
    torch.testing.assert_close(ours.double(), x, rtol=1e-3, atol=1e-3)


def test_guided_variance_is_the_conditional_one(make_dit, generators):
    scheduler = DDPMScheduler(clip_sample=False, variance_type="learned_range")
    pipe = make_dit(DiTPipeline, scheduler)
    seen = []
    original = scheduler.step
    pipe.scheduler.step = lambda output, *a, **k: (seen.append(output), original(output, *a))[1]
    pipe([3], guidance_scale=3.0, num_inference_steps=1, generator=generators(4))
    (noise,) = generators(4)
    x, t = torch.randn(1, 4, 8, 8, generator=noise), scheduler.timesteps[:1]
    with torch.no_grad():
        output = pipe.transformer(
            torch.cat([x, x]), timestep=t.expand(2), class_labels=torch.tensor([3, 1000])
        ).sample
    assert torch.equal(seen[0][:, 4:], output[:1, 4:])


def test_null_label_is_the_models_own(make_dit):
    pipe = make_dit(DiTPipeline, num_classes=10)
    seen = []
    pipe.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["class_labels"].tolist()), with_kwargs=True
    )
    pipe([9, 0], num_inference_steps=1)
    assert seen == [[9, 0, 10, 10]]


def test_given_latents_replace_the_draw(make_dit):
    pipe = make_dit(DiTPipeline, EulerDiscreteScheduler())
    noise = torch.randn(2, 4, 8, 8, generator=seeded())
    arguments = {"class_labels": [3, 4], "num_inference_steps": 2, "output_type": "latent"}
    drawn = pipe(**arguments, generator=seeded()).images
    given = pipe(**arguments, latents=noise.clone()).images
    assert torch.equal(drawn, given)


def test_other_square_sizes(make_dit):
    pipe = make_dit(DiTPipeline)
    images = pipe([3], height=24, width=24, num_inference_steps=1, output_type="pt").images
    assert images.shape == (1, 3, 24, 24)


def test_callback_sees_and_replaces_latents(make_dit):
    pipe = make_dit(DiTPipeline)
    steps = []

    def zero(pipeline, step, timestep, tensors):
        assert pipeline is pipe
        assert set(tensors) == {"latents", "class_labels"}
        steps.append((step, int(timestep)))
        return {"latents": torch.zeros_like(tensors["latents"])}

    latents = pipe(
        [3],
        num_inference_steps=3,
        output_type="latent",
        callback_on_step_end=zero,
        callback_on_step_end_tensor_inputs=["latents", "class_labels"],
    ).images
    assert [step for step, _ in steps] == [0, 1, 2]
    assert [t for _, t in steps] == pipe.scheduler.timesteps.tolist()
    assert not latents.any()


def test_callback_without_return_changes_nothing(make_dit):
    pipe = make_dit(DiTPipeline)
    arguments = {"class_labels": [3], "num_inference_steps": 2, "output_type": "latent"}
    plain = pipe(**arguments, generator=seeded()).images
    watched = pipe(**arguments, generator=seeded(), callback_on_step_end=lambda *a: None).images
    assert torch.equal(plain, watched)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_labels": []}, "empty"),
        ({"class_labels": [10]}, r"0\.\.9.*\[10\]"),
        ({"class_labels": [-1, 3]}, r"0\.\.9.*\[-1\]"),
        ({"class_labels": [0.5]}, "must be integers"),
        ({"generator": [torch.Generator()] * 3}, "list of 3 for a batch of 1"),
        ({"latents": torch.zeros(1, 4, 4, 8)}, r"\[1, 4, 4, 8\], expected \[1, 4, 8, 8\]"),
        ({"height": 16, "width": 24}, "square only"),
        ({"height": 18}, "multiples of 4"),
        ({"num_inference_steps": 0}, "at least 1"),
        ({"output_type": "jpeg"}, "output_type"),
        ({"callback_on_step_end_tensor_inputs": ["images"]}, "images"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(make_dit, count_calls, arguments, message):
    pipe = make_dit(DiTPipeline, num_classes=10)
    calls = count_calls(pipe.transformer, "forward")
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match=message):
        pipe(**{"class_labels": [3], **arguments})
    assert not calls
    assert torch.equal(state, torch.get_rng_state())


def test_scheduler_and_output_must_suit_each_other(make_dit):
    learned = DDPMScheduler(variance_type="learned_range")
    with pytest.raises(ValueError, match="predicts 4 channels for 4"):
        make_dit(DiTPipeline, learned, out_channels=4)([3])
    solver = DPMSolverMultistepScheduler(variance_type="learned_range")
    with pytest.raises(ValueError, match="three of the 4 latent channels"):
        make_dit(DiTPipeline, solver)([3])


def test_saved_pipeline_loads_as_stock_and_as_ours(make_dit, tmp_path):
    pipe = make_dit(DiTPipeline)
    assert isinstance(pipe, diffusers.DiTPipeline)
    pipe.save_pretrained(tmp_path)
    assert type(DiffusionPipeline.from_pretrained(tmp_path)) is diffusers.DiTPipeline
    assert type(DiTPipeline.from_pretrained(tmp_path)) is DiTPipeline


def test_loads_as_custom_pipeline(make_dit, load_custom, tmp_path):
    pipe = make_dit(diffusers.DiTPipeline)
    pipe.save_pretrained(tmp_path / "pipe")
    loaded = load_custom(tmp_path / "pipe", dit_file.__file__)
    assert isinstance(loaded, diffusers.DiTPipeline)
    arguments = {"class_labels": [3], "num_inference_steps": 2, "output_type": "pt"}
    ours = loaded(**arguments, generator=[seeded()], callback_on_step_end=None).images
    assert torch.equal(ours, pipe(**arguments, generator=seeded()).images)
