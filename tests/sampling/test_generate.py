"""Specs in, images out: each depends on its spec alone, whatever happens around it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from saved_text_pipelines import save_tiny_pixart

import dit_accel
from dit_accel import DitAccelError
from dit_accel.install import installation_of
from dit_accel.sampling.generate import Sample, generate, to_uint8
from dit_accel.sampling.loading import load_pipeline
from dit_accel.sampling.solvers import make_scheduler
from dit_accel.sampling.specs import SampleSpec

SPECS = [SampleSpec(i, 100 + i, class_label=i % 3) for i in range(8)]
INTERVAL = {
    "cache": {
        "predictor": {"kind": "polynomial", "order": 1},
        "policy": {"kind": "interval", "interval": 2},
    }
}
PROMPTS = [
    "a cat",
    "",
    "a dog / a moon \\ on ../rocket",
    'a "cat" \'s coffee',
    "a 🚀 on the 月",
    "a cat",
    "a cat on a moon " * 60,
    "  A CAT\n",
]


@pytest.fixture(scope="module")
def loaded(tiny_pipeline: Path) -> Any:
    return load_pipeline(str(tiny_pipeline), "float32", "cpu")


@pytest.fixture
def pipe(loaded: Any) -> Any:
    loaded.scheduler = make_scheduler("DDIM", loaded.scheduler.config)
    yield loaded
    dit_accel.restore(loaded)


@pytest.fixture(scope="module")
def tiny_text_pipe(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = save_tiny_pixart(tmp_path_factory.mktemp("tiny_pixart"))
    return load_pipeline(str(folder), "float32", "cpu")


@pytest.fixture(scope="module", params=["tiny", "pixart-photos"])
def text_pipe(request: pytest.FixtureRequest) -> Any:
    if request.param == "tiny":
        return request.getfixturevalue("tiny_text_pipe")
    return load_pipeline(request.param, "float32", "cpu")


def run(pipe: Any, specs: Sequence[SampleSpec] = SPECS, batch_size: int = 3, **more: Any) -> Any:
    arguments: dict[str, Any] = {"num_inference_steps": 4, "guidance_scale": 2.0, **more}
    return list(generate(pipe, specs, batch_size=batch_size, **arguments))


def images(samples: Sequence[Sample]) -> np.ndarray:
    return np.stack([sample.image for sample in samples])


def grey_levels(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def failing_once(pipe: Any, rows: int, error: BaseException, at: int = 3) -> list[Any]:
    """Fail in the ``at``-th forward of more than ``rows`` rows; returns what it saw."""
    seen: list[Any] = []

    def hook(module: Any, args: Any, kwargs: Any) -> None:
        latents = args[0] if args else kwargs["hidden_states"]
        if len(latents) > rows:
            seen.append(weakref.ref(latents))
            if len(seen) % at == 0:
                raise type(error)(*error.args)  # a new one: nobody else holds its traceback

    handle = pipe.transformer.transformer_blocks[1].register_forward_pre_hook(
        hook, with_kwargs=True
    )
    seen.append(handle)
    return seen


@pytest.mark.parametrize("plan", [{}, INTERVAL], ids=["dense", "interval"])
def test_batch_size_changes_nothing_but_rounding(
    pipe: Any, plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dit_accel.accelerate(pipe, plan)
    noise: list[torch.Tensor] = []
    original = pipe._initial_latents

    def recorded(*args: Any) -> torch.Tensor:
        noise.append(original(*args))
        return noise[-1].clone()

    monkeypatch.setattr(pipe, "_initial_latents", recorded)
    results = {}
    for size in (1, 3, 8):
        noise.clear()
        made = run(pipe, batch_size=size)
        assert [sample.spec for sample in made] == SPECS
        results[size] = (torch.cat(noise), images(made))
    for size in (1, 3):
        assert torch.equal(results[size][0], results[8][0])
        assert grey_levels(results[size][1], results[8][1]) <= 1
    assert len({image.tobytes() for image in results[8][1]}) == len(SPECS)


def test_images_are_those_of_the_pipeline(pipe: Any) -> None:
    made = run(pipe, SPECS[:2], batch_size=2)
    generators = [torch.Generator().manual_seed(spec.seed) for spec in SPECS[:2]]
    expected = pipe(
        [spec.class_label for spec in SPECS[:2]],
        guidance_scale=2.0,
        num_inference_steps=4,
        generator=generators,
    ).images
    assert np.array_equal(images(made), np.stack([np.asarray(image) for image in expected]))
    assert made[0].image.shape == (32, 32, 3) and made[0].image.dtype == np.uint8


def test_specs_are_read_as_they_are_needed(pipe: Any) -> None:
    taken: list[int] = []
    specs = (taken.append(spec.index) or spec for spec in SPECS)
    samples = generate(pipe, specs, num_inference_steps=1, guidance_scale=1.0, batch_size=2)
    assert taken == []
    next(samples)
    assert taken == [0, 1]
    samples.close()


def test_timing_tells_batches_apart(pipe: Any) -> None:
    made = run(pipe, batch_size=3)
    assert [sample.batch.size for sample in made] == [3] * 6 + [2] * 2
    assert len({sample.batch.id for sample in made}) == 3
    assert all(sample.batch.seconds > 0 for sample in made)


def test_size_is_the_one_asked_for(pipe: Any, text_pipe: Any) -> None:
    assert run(pipe, SPECS[:1], height=64, width=64)[0].image.shape == (64, 64, 3)
    spec = SampleSpec(0, 0, prompt="a cat")
    assert run(text_pipe, [spec], height=16, width=24)[0].image.shape == (16, 24, 3)


def test_labels_and_prompts_do_not_mix(pipe: Any) -> None:
    with pytest.raises(DitAccelError, match="one sort for all"):
        run(pipe, [SPECS[0], SampleSpec(1, 1, prompt="a cat")])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate"
                     " memory: you tried to allocate 9 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
        MemoryError(),
    ],
    ids=["cuda", "cpu", "cublas", "python"],
)  # fmt: skip
def test_out_of_memory_halves_the_batch_and_goes_on(pipe: Any, error: BaseException) -> None:
    dit_accel.accelerate(pipe, INTERVAL)
    expected = images(run(pipe, batch_size=4))
    said: list[tuple[str, int]] = []

    def notify(text: str) -> None:
        installation = installation_of(pipe)
        assert installation is not None and installation.nbytes == 0
        assert all(reference() is None for reference in seen[1:])
        said.append((text, len(seen) - 1))

    seen = failing_once(pipe, rows=8, error=error, at=2)
    try:
        made = run(pipe, batch_size=8, notify=notify)
    finally:
        seen[0].remove()
    assert len(said) == 1
    assert "batch of 8" in said[0][0] and "batches of 4" in said[0][0]
    assert [sample.batch.size for sample in made] == [4] * 8
    assert [sample.spec for sample in made] == SPECS
    assert np.array_equal(images(made), expected)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"batch_size": 1}, "cannot be halved; free the device's memory"),
        ({"batch_size": 2, "deterministic": True}, "smaller batch_size"),
    ],
)
def test_out_of_memory_that_cannot_be_helped(pipe: Any, more: Any, message: str) -> None:
    seen = failing_once(pipe, rows=0, error=torch.OutOfMemoryError("out of memory"), at=1)
    try:
        with pytest.raises(DitAccelError, match=message) as raised:
            run(pipe, **more)
    finally:
        seen[0].remove()
    assert raised.value.__context__ is None  # a chained exception would hold the batch's tensors


def test_other_errors_are_not_taken_for_out_of_memory(pipe: Any) -> None:
    seen = failing_once(pipe, rows=0, error=RuntimeError("shapes do not match"), at=1)
    try:
        with pytest.raises(RuntimeError, match="shapes do not match"):
            run(pipe)
    finally:
        seen[0].remove()


def test_deterministic_batches_come_out_the_same_to_the_bit(pipe: Any) -> None:
    dit_accel.accelerate(pipe, {"cache": {"policy": {"kind": "first_block", "threshold": 0.3}}})
    whole = images(run(pipe, deterministic=True))
    resumed = [
        *run(pipe, SPECS[3:6], deterministic=True),  # the batch in which it was stopped
        *run(pipe, SPECS[6:], deterministic=True),
    ]
    assert np.array_equal(images(resumed), whole[3:])
    assert [sample.batch.size for sample in resumed] == [3, 3, 3, 2, 2]


def test_deterministic_settings_hold_for_the_batch_alone(pipe: Any) -> None:
    inside: list[tuple[bool, int]] = []
    handle = pipe.transformer.register_forward_pre_hook(
        lambda module, args: inside.append(
            (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark)
        )
    )
    try:
        for _ in generate(pipe, SPECS[:3], num_inference_steps=1, guidance_scale=1.0,
                          batch_size=2, deterministic=True):  # fmt: skip
            assert not torch.are_deterministic_algorithms_enabled()
    finally:
        handle.remove()
    assert inside == [(True, False)] * 2


def test_an_operation_without_a_deterministic_kernel_is_named(pipe: Any) -> None:
    said = "median CUDA does not have a deterministic implementation, but you set ..."
    seen = failing_once(pipe, rows=0, error=RuntimeError(said), at=1)
    try:
        with pytest.raises(DitAccelError, match=r"median CUDA.*deterministic: false"):
            run(pipe, deterministic=True)
    finally:
        seen[0].remove()


def test_any_prompt_is_legal_and_stands_for_itself(text_pipe: Any) -> None:
    specs = [SampleSpec(i, 7, prompt=prompt) for i, prompt in enumerate(PROMPTS)]
    small = {"height": 32, "width": 32}
    made = images(run(text_pipe, specs, batch_size=8, **small))
    for size in (1, 3):
        assert grey_levels(images(run(text_pipe, specs, batch_size=size, **small)), made) <= 1
    # Equal prompts and seeds, and what the pipeline's own preprocessing makes equal.
    assert np.array_equal(made[0], made[5]) and np.array_equal(made[0], made[7])


def test_another_prompt_is_another_picture(tiny_text_pipe: Any) -> None:
    specs = [SampleSpec(i, 7, prompt=prompt) for i, prompt in enumerate(PROMPTS[:3])]
    made = images(run(tiny_text_pipe, specs))
    assert not np.array_equal(made[0], made[1]) and not np.array_equal(made[0], made[2])


def test_texts_are_encoded_as_the_pipeline_does(text_pipe: Any) -> None:
    spec = SampleSpec(0, 7, prompt="a cat on a moon")
    expected = text_pipe(
        spec.prompt,
        generator=[torch.Generator().manual_seed(7)],
        guidance_scale=2.0,
        num_inference_steps=4,
        use_resolution_binning=False,
        clean_caption=False,  # and padded to the pipeline's own length, which is masked
    ).images[0]
    assert grey_levels(run(text_pipe, [spec])[0].image, np.asarray(expected)) <= 1


def test_duplicate_prompts_are_encoded_once(
    text_pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    original: Callable[..., Any] = text_pipe.encode_prompt

    def counted(prompt: Any, *args: Any, **kwargs: Any) -> Any:
        encoded.extend(prompt or ())  # the pipeline hands its embeddings through here too
        return original(prompt, *args, **kwargs)

    monkeypatch.setattr(text_pipe, "encode_prompt", counted)
    text_pipe.text_embedding_cache.clear()
    specs = [SampleSpec(i, i, prompt="a dog") for i in range(6)]
    run(text_pipe, specs, batch_size=2, height=16, width=16)
    assert encoded == ["a dog", ""]


def test_rounding_is_that_of_diffusers() -> None:
    from diffusers import DiTPipeline

    values = torch.arange(3 * 16 * 16).reshape(1, 3, 16, 16) / (3 * 256 - 1)
    expected = np.asarray(DiTPipeline.numpy_to_pil(values.permute(0, 2, 3, 1).numpy())[0])
    assert np.array_equal(to_uint8(values)[0], expected)
