"""What the finished stages leave behind."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import AutoencoderKL

from dit_accel.training.autoencoder import psnr, reconstruct
from dit_accel.training.checkpoint import load_if_present, read_json
from dit_accel.training.class_conditioning import ClassConditioning
from dit_accel.training.classifier import accuracy, load_classifier
from dit_accel.training.dit_transformer import build_transformer
from dit_accel.training.latents import LatentBank, bank_path
from dit_accel.training.photos import PHOTOS
from dit_accel.training.precision import choose_precision
from dit_accel.training.streams import held_out_crops


def test_psnr_of_a_known_error():
    reference = torch.zeros(2, 3, 8, 8)
    decoded = reference + torch.tensor([0.02, 0.2]).view(2, 1, 1, 1)
    torch.testing.assert_close(psnr(reference, decoded), torch.tensor([40.0, 20.0]))


def test_bank_has_unit_spread_and_all_classes(finished):
    bank = LatentBank.load(bank_path(finished))
    assert bank.latents.shape == (30, 4, 8, 8)
    assert bank.latents.std() == pytest.approx(1, abs=1e-3)
    assert sorted(set(bank.labels.tolist())) == list(range(len(PHOTOS)))


def test_recorded_psnr_is_that_of_the_saved_autoencoder(finished):
    folder = finished.output / "autoencoder"
    pixels, _ = held_out_crops(finished)
    scores = psnr(pixels, reconstruct(AutoencoderKL.from_pretrained(folder / "model"), pixels))
    assert read_json(folder / "result.json")["psnr_db"] == pytest.approx(scores.mean().item())


def test_recorded_accuracy_is_that_of_the_saved_classifier(finished):
    folder = finished.output / "classifier"
    share = accuracy(load_classifier(folder / "model.safetensors"), *held_out_crops(finished))
    assert read_json(folder / "result.json")["held_out_accuracy"] == pytest.approx(share)


def test_an_untrained_transformer_predicts_zero_and_shares_its_embedders(config):
    model = build_transformer(config.transformer, channels=4, sample_size=8)
    latents, steps = torch.randn(2, 4, 8, 8), torch.tensor([3, 999])
    assert not model(latents, steps, torch.tensor([0, 1000])).sample.any()
    assert len({id(block.norm1.emb) for block in model.transformer_blocks}) == 1


def test_an_assembled_pipeline_carries_the_averaged_weights_in_separate_embedders(finished):
    state = load_if_present(finished.output / "transformer" / "checkpoint.pt")
    averaged = state["ema"]["shadow_params"]
    bank = LatentBank.load(bank_path(finished))
    pipeline = ClassConditioning(finished, bank.labels).assemble(bank, averaged)
    blocks = pipeline.transformer.transformer_blocks
    assert len({id(block.norm1.emb) for block in blocks}) == len(blocks)
    shared = build_transformer(finished.transformer, channels=4, sample_size=8)
    names = [name for name, _ in shared.named_parameters()]
    stored = pipeline.transformer.state_dict()
    assert all(
        torch.equal(stored[name], value) for name, value in zip(names, averaged, strict=True)
    )


def test_measured_precision_is_kept_for_the_rest_of_the_run(config, tmp_path, monkeypatch):
    seconds = {"no": 2.0, "bf16": 1.0}
    module = "dit_accel.training.precision.step_seconds"
    monkeypatch.setattr(module, lambda transformer, name: seconds[name])
    measured = config.model_copy(update={"mixed_precision": "auto", "output": tmp_path})
    assert choose_precision(measured) == "bf16"
    seconds["bf16"] = math.inf
    assert choose_precision(measured) == "bf16"
    assert choose_precision(config.model_copy(update={"mixed_precision": "no"})) == "no"
