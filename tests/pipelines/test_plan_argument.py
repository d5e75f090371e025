import pytest
import torch
from diffusers import DDPMScheduler

import dit_accel
from dit_accel import Plan, PlanError
from dit_accel.pipelines import DiTPipeline, PixArtAlphaPipeline, PixArtSigmaPipeline

STEPS = 6
EVERY_THIRD = Plan.load(
    {
        "cache": {
            "site": "model",
            "predictor": "reuse",
            "policy": {"kind": "interval", "interval": 3},
        }
    }
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=[DiTPipeline, PixArtAlphaPipeline, PixArtSigmaPipeline])
def pipe(request, make_dit, make_pixart):
    make = make_dit if request.param is DiTPipeline else make_pixart
    return make(request.param, DDPMScheduler(clip_sample=False))


@pytest.fixture
def sample(pipe):
    """Latents of two samples, one call of the pipeline."""

    def sample(**arguments):
        if isinstance(pipe, DiTPipeline):
            arguments = {"class_labels": [3, 5], **arguments}
        else:
            arguments = {"prompt": ["a cat", "a dog"], "clean_caption": False,
                         "use_resolution_binning": False, **arguments}  # fmt: skip
        arguments = {"generator": [seeded(1), seeded(2)], **arguments}
        return pipe(num_inference_steps=STEPS, output_type="latent", **arguments).images

    return sample


@pytest.fixture
def block_calls(pipe):
    """Grows by one whenever the last block really computes (a skipped block is still called)."""
    calls = []
    pipe.transformer.transformer_blocks[-1].ff.register_forward_hook(lambda *a: calls.append(1))
    return calls


def test_empty_plan_changes_nothing(sample):
    assert torch.equal(sample(), sample(plan=Plan()))


def test_plan_holds_for_its_call_alone(sample, block_calls):
    dense = sample()
    assert len(block_calls) == STEPS
    accelerated = sample(plan=EVERY_THIRD)
    assert STEPS < len(block_calls) < 2 * STEPS
    assert not torch.equal(dense, accelerated)
    computed = len(block_calls)
    assert torch.equal(sample(), dense)
    assert len(block_calls) == computed + STEPS


def test_plan_of_a_call_equals_the_installed_plan(pipe, sample):
    by_argument = sample(plan=EVERY_THIRD)
    dit_accel.accelerate(pipe, EVERY_THIRD)
    assert torch.equal(sample(), by_argument)  # None leaves what is installed
    dit_accel.restore(pipe)


def test_installed_plan_comes_back_after_a_call(pipe, sample):
    dense = sample()
    dit_accel.accelerate(pipe, EVERY_THIRD)
    accelerated = sample()
    assert torch.equal(sample(plan=Plan()), dense)
    assert torch.equal(sample(), accelerated)


def test_samples_stay_independent_under_a_plan(pipe, sample):
    batch = sample(plan=EVERY_THIRD)
    one = {"class_labels": [5]} if isinstance(pipe, DiTPipeline) else {"prompt": "a dog"}
    alone = sample(plan=EVERY_THIRD, generator=[seeded(2)], **one)
    torch.testing.assert_close(batch[1:], alone, rtol=1e-4, atol=1e-4)


def test_wrong_plan_is_refused_before_anything_runs(sample, block_calls):
    with pytest.raises(PlanError):
        sample(plan={"cache": {"policy": "sometimes"}})
    assert not block_calls


def test_plan_is_taken_off_after_an_interrupt(sample, block_calls):
    dense = sample()

    def interrupt(pipeline, step, timestep, tensors):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(plan=EVERY_THIRD, callback_on_step_end=interrupt)
    block_calls.clear()
    assert torch.equal(sample(), dense)
    assert len(block_calls) == STEPS
