"""The rewrites together and one by one give what stock gives, whatever the run is like."""

from __future__ import annotations

import copy
from itertools import zip_longest
from typing import Any

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, HeunDiscreteScheduler, UniPCMultistepScheduler
from exact_runs import TOLERANCE, distance, farthest
from plans import PLANS
from tiny_models import NULL_LABEL, TinyFamily, modes, noise

import dit_accel
from dit_accel.exact.config import Exact
from dit_accel.sampling.loading import load_pipeline

OFF = dict.fromkeys(Exact.model_fields, False)
SINGLE = [name for name in Exact.model_fields if name != "compile"]


@pytest.mark.parametrize("guidance", ["batched", "separate", "none"])
@pytest.mark.parametrize("exact", [True, *({**OFF, name: True} for name in SINGLE)], ids=str)
def test_every_step_of_a_bare_transformer(family: TinyFamily, exact: Any, guidance: str) -> None:
    stock = list(family.steps_of(family.transformer(), guidance=guidance))
    transformer = dit_accel.accelerate(family.transformer(), {"exact": exact})
    assert farthest(stock, family.steps_of(transformer, guidance=guidance)) <= TOLERANCE


@pytest.mark.parametrize(
    "scheduler", [DPMSolverMultistepScheduler, UniPCMultistepScheduler, HeunDiscreteScheduler]
)
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_the_stock_pipelines(family: TinyFamily, scheduler: Any, guidance: float) -> None:
    stock = family.generate(family.pipeline(scheduler()), guidance=guidance)
    pipe = dit_accel.accelerate(family.pipeline(scheduler()), {"exact": True})
    for _ in range(2):
        assert distance(stock, family.generate(pipe, guidance=guidance)) <= TOLERANCE


@pytest.mark.parametrize("name", PLANS)
def test_beside_every_method(family: TinyFamily, name: str) -> None:
    """Rows that a cache gathers take their modulations and text keys along."""
    plain = dit_accel.accelerate(family.transformer(), PLANS[name])
    both = dit_accel.accelerate(family.transformer(), {**PLANS[name], "exact": True})
    for guidance in ("batched", "separate"):
        expected = list(family.steps_of(plain, steps=8, guidance=guidance))
        assert farthest(expected, family.steps_of(both, steps=8, guidance=guidance)) <= TOLERANCE
        assert modes(plain) == modes(both)


def test_rows_were_gathered_in_these_tests(family: TinyFamily) -> None:
    pipe = dit_accel.accelerate(family.pipeline(), {**PLANS["first_block"], "exact": True})
    family.generate(pipe, samples=(1, 2, 3, 4), steps=10)
    assert "some" in modes(pipe)


def test_batches_and_prompts_that_change_between_and_within_runs(family: TinyFamily) -> None:
    transformer = family.transformer()
    fast = dit_accel.accelerate(family.transformer(), {"exact": True})
    runs = [((1, 2, 3), 4), ((4,), 3), ((2, 1, 3), 4), ((2, 2), 5)]
    for samples, steps in runs:
        stock = list(family.steps_of(transformer, samples, steps))
        assert farthest(stock, family.steps_of(fast, samples, steps)) <= TOLERANCE
    with torch.no_grad(), dit_accel.run(fast, 4):
        for samples in ((1, 2), (2, 1), (1, 2), (3, 1)):
            condition = family.guided_condition(samples, torch.float32)
            latents = noise(samples, (8, 8), torch.float32).repeat(2, 1, 1, 1)
            expected = family.predict(transformer, latents, 500, condition)
            assert distance(expected, family.predict(fast, latents, 500, condition)) <= TOLERANCE


@pytest.mark.parametrize("guidance", ["batched", "separate"])
def test_two_runs_interleaved(family: TinyFamily, guidance: str) -> None:
    fast = [dit_accel.accelerate(family.transformer(), {"exact": True}) for _ in range(2)]
    runs = [{"samples": (1, 2), "steps": 6}, {"samples": (5,), "steps": 4}]
    stock = [list(family.steps_of(family.transformer(), guidance=guidance, **r)) for r in runs]
    steps = [family.steps_of(t, guidance=guidance, **r) for t, r in zip(fast, runs, strict=True)]
    taken: list[list[torch.Tensor]] = [[], []]
    for pair in zip_longest(*steps):
        for kept, latents in zip(taken, pair, strict=True):
            kept += [] if latents is None else [latents]
    assert all(farthest(a, b) <= TOLERANCE for a, b in zip(stock, taken, strict=True))


def test_a_run_after_one_that_failed_midway(family: TinyFamily) -> None:
    pipe = dit_accel.accelerate(family.pipeline(), {"exact": True})
    stock = family.generate(family.pipeline(), samples=(3, 4))
    block = pipe.transformer.transformer_blocks[2].attn1.to_out[0]
    original, calls = block.forward, []

    def failing(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*args)

    block.forward = failing
    with pytest.raises(KeyboardInterrupt):
        family.generate(pipe, samples=(1, 2))
    del block.forward
    assert distance(stock, family.generate(pipe, samples=(3, 4))) <= TOLERANCE


def test_a_deep_copy_is_accelerated_anew(family: TinyFamily) -> None:
    pipe = dit_accel.accelerate(family.pipeline(), {"exact": True})
    stock = family.generate(family.pipeline())
    family.generate(pipe)
    copied = copy.deepcopy(pipe)
    dit_accel.restore(copied)
    assert torch.equal(family.generate(copied), stock)
    dit_accel.accelerate(copied, {"exact": True})
    assert distance(stock, family.generate(copied)) <= TOLERANCE
    assert distance(stock, family.generate(pipe)) <= TOLERANCE


def test_a_callback_that_changes_the_prompt_in_mid_run(pixart: Any) -> None:
    def run(plan: Any) -> torch.Tensor:
        pipe = dit_accel.accelerate(pixart.pipeline(), plan)
        transformer, calls = pipe.transformer, []
        original = transformer.forward

        def changed(*args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            text = kwargs["encoder_hidden_states"]
            if len(calls) == 3:
                text.mul_(0.5)  # in place
            if len(calls) >= 4:
                kwargs["encoder_hidden_states"] = text.flip(0)
            return original(*args, **kwargs)

        transformer.forward = changed
        return pixart.generate(pipe, steps=6)

    assert distance(run({}), run({"exact": True})) <= TOLERANCE


def test_timesteps_and_labels_that_differ_by_row(dit: Any) -> None:
    transformer = dit.transformer()
    fast = dit_accel.accelerate(dit.transformer(), {"exact": True})
    latents = noise((1, 2, 3, 4), (8, 8), torch.float32)
    labels = torch.tensor([3, NULL_LABEL, 3, 7])
    with torch.no_grad():
        for steps in ([900, 900, 10, 500], [900, 10, 10, 900]):
            arguments = {"timestep": torch.tensor(steps), "class_labels": labels}
            expected = transformer(latents, **arguments).sample
            assert distance(expected, fast(latents, **arguments).sample) <= TOLERANCE


@pytest.mark.parametrize("dtype", [torch.bfloat16])
def test_half_precision_is_as_near_to_fp32_as_stock(family: TinyFamily, dtype: Any) -> None:
    exact = family.denoise(family.transformer())
    stock = family.denoise(family.transformer(dtype=dtype))
    fast = dit_accel.accelerate(family.transformer(dtype=dtype), {"exact": True})
    assert distance(exact, family.denoise(fast)) <= 1.2 * distance(exact, stock) + 1e-3


def test_inference_mode(family: TinyFamily) -> None:
    """Tensors of inference mode count no versions: writes to them are seen all the same."""
    transformer = family.transformer()
    fast = dit_accel.accelerate(family.transformer(), {"exact": True})
    with torch.inference_mode():
        condition = family.guided_condition((1, 2), torch.float32)
        steps = torch.full((4,), 500.0)
        latents = noise((1, 2), (8, 8), torch.float32).repeat(2, 1, 1, 1)
        for _ in range(3):
            expected = transformer(latents, timestep=steps, **condition).sample
            assert (
                distance(expected, fast(latents, timestep=steps, **condition).sample) <= TOLERANCE
            )
            steps -= 100
            for tensor in condition.values():
                if torch.is_tensor(tensor) and tensor.dtype == torch.float32:
                    tensor *= 0.5


@pytest.mark.parametrize("kind", ["gradients", "training", "autocast"])
def test_rewrites_stand_aside(family: TinyFamily, kind: str) -> None:
    transformer, fast = family.transformer(), family.transformer()
    dit_accel.accelerate(fast, {"exact": True})
    condition = family.guided_condition((1, 2), torch.float32)
    latents = noise((1, 2), (8, 8), torch.float32).repeat(2, 1, 1, 1)

    def output(model: Any) -> torch.Tensor:
        torch.manual_seed(3)
        if kind == "gradients":
            sample: torch.Tensor = family.predict(model, latents, 500, condition)
            sample.square().mean().backward()
            return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        model.train(kind == "training")
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=kind == "autocast"):
            return family.predict(model, latents, 500, condition)

    assert torch.equal(output(transformer), output(fast))


def test_every_step_of_the_shipped_model() -> None:
    stock, fast = (load_pipeline("dit-photos", "float32", "cpu") for _ in range(2))
    dit_accel.accelerate(fast, "exact")

    def steps(pipe: Any) -> list[torch.Tensor]:
        taken: list[torch.Tensor] = []
        pipe(
            [0, 3],
            1.5,
            [torch.Generator().manual_seed(seed) for seed in (1, 2)],
            num_inference_steps=6,
            output_type="latent",
            callback_on_step_end=lambda _, __, ___, tensors: taken.append(tensors["latents"]),
        )
        return taken

    assert farthest(steps(stock), steps(fast)) <= TOLERANCE
    assert dit_accel.summary(fast).exact_bytes > 0
