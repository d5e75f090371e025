"""CLIP embeddings of pictures and texts are those of the transformers model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dit_accel.errors import DitAccelError
from dit_accel.extractors import Extractor, clip, extract
from dit_accel.extractors.weights import hub_file, sha256_of

transformers = pytest.importorskip("transformers")

VOCABULARY = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "c": 3, "at</w>": 4, "a": 5}
VOCABULARY |= {"t</w>": 6, "cat</w>": 7}
MERGES = [("a", "t</w>"), ("c", "at</w>")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny CLIP on disk in place of the published one."""
    small = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2}
    small |= {"num_attention_heads": 2, "projection_dim": 16}
    text = {**small, "vocab_size": 8, "max_position_embeddings": 6, "eos_token_id": 1}
    config = transformers.CLIPConfig(
        text_config=text, vision_config={**small, "patch_size": 56}, projection_dim=16
    )
    transformers.CLIPModel(config).save_pretrained(tmp_path)
    transformers.CLIPTokenizer(vocab=VOCABULARY, merges=MERGES).save_pretrained(tmp_path)
    monkeypatch.setattr(clip, "vit_large_14", lambda: config)
    for constant, name in (
        ("CLIP_WEIGHTS", "model.safetensors"),
        ("CLIP_TOKENIZER", "tokenizer.json"),
    ):
        file = hub_file("openai/clip-vit-large-patch14", name, sha256_of(tmp_path / name))
        monkeypatch.setattr(clip, constant, file)
    return tmp_path


def reference(folder: Path, images: torch.Tensor, prompts: list[str]) -> Any:
    """The model's own forward pass, with transformers' image processor and tokenizer."""
    module = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    pictures = [np.asarray(image.permute(1, 2, 0)) for image in images]
    pixels = module.CLIPImageProcessorPil()(pictures, return_tensors="pt")["pixel_values"]
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
    tokens = tokenizer(prompts, padding=True, truncation=True, max_length=6, return_tensors="pt")
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(pixel_values=pixels, **tokens)


def test_embeddings_and_scores_are_the_models_own(folder: Path) -> None:
    extractor = clip.load_clip(folder)
    assert isinstance(extractor, Extractor) and extractor.dim == 16
    images = torch.randint(0, 256, (3, 3, 60, 80), dtype=torch.uint8)
    prompts = ["a cat", "cat", "a cat at a cat at a cat"]  # the last is cut
    expected = reference(folder, images, prompts)
    features = extractor(images)["features"]
    unit = features / features.norm(dim=1, keepdim=True)
    torch.testing.assert_close(unit, expected.image_embeds, rtol=1e-4, atol=1e-5)
    texts = extractor.text_features(prompts)
    unit = texts / texts.norm(dim=1, keepdim=True)
    torch.testing.assert_close(unit, expected.text_embeds, rtol=1e-4, atol=1e-5)
    cosine = (expected.image_embeds * expected.text_embeds).sum(dim=1)
    scores = clip.clip_score(extractor, images, prompts)
    torch.testing.assert_close(scores, 100 * cosine.clamp(min=0), rtol=1e-4, atol=1e-3)


def test_a_score_is_never_negative(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = clip.load_clip(folder)
    images = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    opposite = -extractor(images)["features"]
    monkeypatch.setattr(extractor, "text_features", lambda prompts: opposite)
    assert clip.clip_score(extractor, images, ["cat"]).tolist() == [0]


def test_every_picture_needs_its_prompt(folder: Path) -> None:
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(DitAccelError, match="prompts: got 1, expected 2 texts"):
        clip.clip_score(clip.load_clip(folder), images, ["cat"])


def test_pictures_need_no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    extractor = clip.load_clip(folder)
    assert extractor(images)["features"].shape == (1, 16)
    with pytest.raises(DitAccelError, match=r"tokenizer\.json"):
        extractor.text_features(["cat"])


def test_batches_do_not_matter(folder: Path) -> None:
    extractor = clip.load_clip(folder)
    images = torch.randint(0, 256, (7, 3, 32, 32), dtype=torch.uint8)
    alone, together = extract(extractor, images.split(1)), extract(extractor, [images])
    np.testing.assert_allclose(alone["features"], together["features"], rtol=1e-5, atol=1e-5)
    prompts = ["a cat", "cat", "a cat at a"]
    singly = torch.cat([extractor.text_features([prompt]) for prompt in prompts])
    torch.testing.assert_close(extractor.text_features(prompts), singly, rtol=1e-4, atol=1e-5)


def test_the_published_network_has_the_published_files_size() -> None:
    with torch.device("meta"):
        model = transformers.CLIPModel(clip.vit_large_14())
    assert sum(p.numel() for p in model.parameters()) == 427_616_513
