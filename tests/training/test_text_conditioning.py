"""Captions of the bank's crops become conditions, and weights become a stock pipeline."""

from __future__ import annotations

import pytest
import torch

from dit_accel.errors import DitAccelError
from dit_accel.training.captions import PHOTOGRAPHS, Nearness, Part, read_caption
from dit_accel.training.checkpoint import load_if_present
from dit_accel.training.config import TextRecipe
from dit_accel.training.latents import LatentBank, bank_path
from dit_accel.training.loop import step_generator
from dit_accel.training.photos import CropSource, load_photos
from dit_accel.training.text_conditioning import TextConditioning, description_of, sample
from dit_accel.training.text_encoder import tokenize

CROPS = torch.arange(20) % 15
KEPT = torch.zeros(20, dtype=torch.bool)


@pytest.fixture(scope="module")
def conditioning(finished_text: TextRecipe) -> TextConditioning:
    return TextConditioning(finished_text, 30)


def test_conditions_depend_on_the_generator_alone(conditioning):
    def draw(step: int) -> tuple[torch.Tensor, ...]:
        return conditioning.draw(CROPS, KEPT, step_generator(0, 3, step))

    first, again, other = draw(0), draw(0), draw(1)
    assert first[0].shape == (20, 24, 8) and first[1].shape == (20, 24)
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], other[0])


def test_dropped_rows_are_the_empty_text_and_the_others_are_what_they_were(conditioning):
    dropped = torch.arange(20) % 2 == 0
    embeddings, mask = conditioning.draw(CROPS, dropped, step_generator(0, 3, 0))
    tokens, empty_mask = tokenize(conditioning.tokenizer, [""], 24)
    empty = conditioning.text_encoder(tokens, empty_mask).last_hidden_state[0]
    assert torch.equal(mask[dropped], empty_mask.expand(10, -1))
    torch.testing.assert_close(embeddings[dropped], empty.expand(10, -1, -1))
    whole, whole_mask = conditioning.draw(CROPS, KEPT, step_generator(0, 3, 0))
    assert torch.equal(mask[~dropped], whole_mask[~dropped])
    torch.testing.assert_close(embeddings[~dropped], whole[~dropped])


def test_captions_are_those_of_the_crops_asked_for(conditioning, monkeypatch):
    spoken: list[str] = []

    def listen(tokenizer, texts, length):
        spoken.extend(texts)
        return tokenize(tokenizer, texts, length)

    monkeypatch.setattr("dit_accel.training.text_conditioning.tokenize", listen)
    conditioning.draw(torch.tensor([3, 29, 0]), KEPT[:3], step_generator(0, 3, 0))
    for text, crop in zip(spoken, (3, 29, 0), strict=True):
        said, wanted = read_caption(text), conditioning.descriptions[crop]
        assert said.photograph == PHOTOGRAPHS[crop % 15] == wanted.photograph
        assert said.part in (wanted.part, None) and said.mirrored == wanted.mirrored


def test_descriptions_follow_from_the_geometry_of_the_crop():
    source = CropSource(load_photos(), (0, 2), (0.6, 1.0))
    for index in range(60):
        crop, said = source.crop(index), description_of(source, index)
        width, height = source.photos[crop.photo].size
        right = (crop.left + crop.side / 2) / width - 0.5
        down = (crop.top + crop.side / 2) / height - 0.5
        assert ("left" in said.part.value, "right" in said.part.value) == (
            right < -0.04,
            right > 0.04,
        )
        assert ("upper" in said.part.value, "lower" in said.part.value) == (
            down < -0.04,
            down > 0.04,
        )
        central = max(abs(right), abs(down)) <= 0.04
        share = crop.side / min(width, height)
        assert (said.part is Part.WHOLE) == (central and share >= 0.85)
        assert (said.nearness is Nearness.FAR) == (share >= 0.9)
        assert said.mirrored == crop.mirrored


def test_without_its_text_encoder_it_says_what_to_do(finished_text, tmp_path):
    with pytest.raises(DitAccelError, match=r"text_encoder.model: missing; run the stage"):
        TextConditioning(finished_text.model_copy(update={"output": tmp_path}), 1)


def test_an_assembled_pipeline_carries_the_averaged_weights(finished_text, conditioning):
    state = load_if_present(finished_text.output / "transformer" / "checkpoint.pt")
    averaged = state["ema"]["shadow_params"]
    pipeline = conditioning.assemble(LatentBank.load(bank_path(finished_text)), averaged)
    stored = pipeline.transformer.parameters()
    assert all(torch.equal(one, other) for one, other in zip(stored, averaged, strict=True))
    generator = torch.Generator().manual_seed(0)
    pictures = sample(pipeline, ["the cat", ""], 2.0, 2, generator)
    assert pictures.shape == (2, 3, 32, 32) and pictures.abs().max() <= 1


def test_the_bank_is_scaled_as_the_autoencoder_says(finished_text):
    bank = LatentBank.load(bank_path(finished_text))
    pipeline = TextConditioning(finished_text, 0).assemble(
        bank, list(TextConditioning(finished_text, 0).build_transformer(4, 8).parameters())
    )
    assert bank.scaling_factor == pytest.approx(pipeline.vae.config.scaling_factor)
    assert bank.latents.std() == pytest.approx(1, abs=0.05)
