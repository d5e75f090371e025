"""How texts are encoded: one by one, as long as the tokenizer reads, and once each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from saved_text_pipelines import save_tiny_pixart

from dit_accel.measure.architectures import load_architecture
from dit_accel.sampling.batch import ImageBatch, encode_text
from dit_accel.sampling.loading import load_pipeline, pipeline_folder
from dit_accel.sampling.texts import encode_each, remember_prompts, text_tokens


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    tiny = save_tiny_pixart(tmp_path_factory.mktemp("tiny_pixart"))
    return {"tiny": tiny, "pixart-photos": pipeline_folder("pixart-photos")}


@pytest.fixture(scope="module", params=["tiny", "pixart-photos"])
def folder(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Path:
    return folders[request.param]


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Any:
    return load_pipeline(str(folder), "float32", "cpu")


def test_no_longer_than_pipeline_and_tokenizer_read(
    folders: dict[str, Path], folder: Path, pipe: Any
) -> None:
    expected = 120 if folder == folders["tiny"] else 24
    assert text_tokens(pipe) == expected == load_architecture(folder).default_text_tokens
    encoded = encode_each(pipe, ["a cat", "a cat " * 200], guided=True)
    for name in ("prompt_attention_mask", "negative_prompt_attention_mask"):
        assert encoded[name].shape == (2, expected)
    assert encoded["prompt_attention_mask"].sum(1).tolist() == [3, expected]
    assert encoded["negative_prompt_attention_mask"].sum(1).tolist() == [1, 1]


def test_a_prompt_is_encoded_as_the_pipeline_does(pipe: Any) -> None:
    encoded = encode_each(pipe, ["the cat", "a"], guided=False)
    embeds, mask, _, _ = pipe.encode_prompt("the cat", False)  # padded to its own default
    length = text_tokens(pipe)
    assert torch.equal(encoded["prompt_attention_mask"][:1], mask[:, :length])
    assert mask[:, length:].sum() == 0
    words = int(mask.sum())
    assert torch.allclose(encoded["prompt_embeds"][0, :words], embeds[0, :words], atol=1e-4)


def test_company_changes_no_bit(pipe: Any) -> None:
    prompts = ("a cat", "", "a 🚀", "a cat on " * 90)
    together = encode_text(pipe, ImageBatch((0, 1, 2, 3), 2.0, prompts=prompts))
    pipe.text_embedding_cache.clear()
    for row, prompt in enumerate(prompts):
        alone = encode_text(pipe, ImageBatch((0,), 2.0, prompts=(prompt,)))
        for name, value in alone.items():
            assert value is None or torch.equal(value[0], together[name][row])


def test_a_set_comes_back_to_its_prompts(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []
    original = pipe.encode_prompt

    def counted(prompt: list[str], *args: Any, **kwargs: Any) -> Any:
        encoded.extend(prompt)
        return original(prompt, *args, **kwargs)

    monkeypatch.setattr(pipe, "encode_prompt", counted)
    pipe.text_embedding_cache.clear()
    prompts = [f"a {number}" for number in range(40)]
    for _ in range(2):
        for start in range(0, len(prompts), 8):
            encode_each(pipe, prompts[start : start + 8], guided=True)
    assert sorted(encoded) == sorted([*prompts, ""])


def test_memory_for_prompts_is_bounded(pipe: Any) -> None:
    remember_prompts(pipe)
    encode_each(pipe, ["a cat"], guided=False)
    cache = pipe.text_embedding_cache
    embeddings = cache.nbytes // len(cache) * cache.max_entries
    assert embeddings == pytest.approx(256 << 20, rel=0.15)  # the masks come on top
