"""The recipe of the `ref` features, on a toy: strict, exact in resuming, published whole."""

from __future__ import annotations

import hashlib
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dit_accel.extractors.ref import MODEL_FILE, load_network
from dit_accel.resources import config_folder, reference_model_folder
from dit_accel.training.checkpoint import RunLog, load_if_present
from dit_accel.training.degradations import DEGRADATIONS, degrade
from dit_accel.training.photos import Crop, CropSource, load_photos
from dit_accel.training.ref_bank import CropBank, layout_of
from dit_accel.training.ref_card import publish
from dit_accel.training.ref_config import RefConfig, load_ref_config
from dit_accel.training.ref_features import RefStage, build_network, vicreg
from dit_accel.training.reference_crops import photo_crops, reference_source

STEPS = 6


def toy_recipe(folder: Path) -> dict[str, Any]:
    return {
        "seed": 3,
        "output": str(folder / "run"),
        "mixed_precision": "bf16",
        "data": {"crop_size": 32, "scale": [0.6, 1.0], "held_out_per_class": 1},
        "bank_crops": 30,
        "batch_size": 8,
        "degraded_share": 0.5,
        "network": {
            "channels": [8, 8, 16],
            "features": 6,
            "grid": 2,
            "grid_channels": 4,
            "hidden": 8,
        },
        "loss": {
            "layout": 1.0,
            "mirrored": 0.5,
            "degradation": 2.0,
            "variance": 1.0,
            "covariance": 0.02,
        },
        "loop": {
            "steps": STEPS,
            "learning_rate": 1e-2,
            "warmup_steps": 1,
            "decay_steps": 2,
            "log_every": 1,
            "checkpoint_every": 1,
            "preview_every": STEPS,
        },
        "reference_crops": 30,
        "scored_crops": 15,
        "publish": str(folder / "published"),
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RefConfig:
    from accelerate import Accelerator

    config = RefConfig(**toy_recipe(tmp_path_factory.mktemp("ref")))
    RefStage(config, Accelerator(mixed_precision="bf16")).run()
    return config


def test_a_resumed_run_is_bit_exact(finished, tmp_path, accelerator):
    config = finished.model_copy(update={"output": tmp_path})
    first = RefStage(config, accelerator)
    steps = iter(range(3))

    def dying_loss(step: int) -> torch.Tensor:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return first.loss(step)

    with pytest.raises(KeyboardInterrupt):
        first.trainer.run(dying_loss, first.preview)
    torch.manual_seed(12345)  # a new process has another global random state
    second = RefStage(config, accelerator)
    assert second.trainer.step == 3
    second.run()
    assert (tmp_path / MODEL_FILE).read_bytes() == (finished.output / MODEL_FILE).read_bytes()
    assert losses(tmp_path) == losses(finished.output)


def losses(folder: Path) -> list[tuple[int, float]]:
    records = RunLog(folder / "log.jsonl").read()
    return [(record["step"], record["loss"]) for record in records if "loss" in record]


def test_saved_features_are_standardised_over_the_bank(finished):
    source = CropSource(load_photos(), (finished.seed, 6), finished.data.scale)
    bank = CropBank(source, finished.bank_crops, finished.data.crop_size)
    both = torch.cat([bank.clean, bank.clean.flip(-1)])
    features = load_network(finished.output / MODEL_FILE)(both.float() / 127.5 - 1)
    torch.testing.assert_close(features.mean(0), torch.zeros(6), rtol=0, atol=1e-3)
    torch.testing.assert_close(features.std(0), torch.ones(6), rtol=1e-3, atol=0)


def test_training_moves_every_parameter(finished):
    state = load_if_present(finished.output / "checkpoint.pt")
    assert state is not None
    for name, value in build_network(finished).state_dict().items():
        assert not torch.equal(value, state["model"][name]), name


def test_published_card_and_weights_belong_together(finished):
    publish(finished)
    weights = (finished.publish / MODEL_FILE).read_bytes()
    card = (finished.publish / "README.md").read_text()
    assert hashlib.sha256(weights).hexdigest() in card
    assert "Gaussian blur, 1 px" in card and "CC BY 2.0" in card
    assert {path.name for path in finished.publish.iterdir()} == {MODEL_FILE, "README.md"}


@pytest.mark.parametrize("place", ["", "data", "network", "loss", "loop"])
def test_a_misspelt_key_is_refused_at_every_level(tmp_path, place):
    recipe = toy_recipe(tmp_path)
    (recipe[place] if place else recipe)["stpes"] = 3
    with pytest.raises(ValueError, match="stpes"):
        RefConfig(**recipe)


def test_more_features_than_few_samples_can_carry_are_refused(tmp_path):
    recipe = toy_recipe(tmp_path)
    recipe["network"]["features"] = 65
    with pytest.raises(ValueError, match="features"):
        RefConfig(**recipe)


def test_the_shipped_recipe_describes_the_shipped_network():
    config = load_ref_config(config_folder("train") / "ref_features.yaml")
    shipped = load_network(reference_model_folder("ref-features") / MODEL_FILE)
    assert build_network(config).architecture == shipped.architecture


# ---- what it learns from ------------------------------------------------------------------------


def test_a_batch_depends_on_nothing_but_its_step(finished):
    source = CropSource(load_photos(), (0, 6), (0.6, 1.0))
    left, right = (CropBank(source, 15, 32) for _ in range(2))
    left.batch(0, 8, 0.5)
    for ours, theirs in zip(
        vars(left.batch(4, 8, 0.5)).values(), vars(right.batch(4, 8, 0.5)).values(), strict=True
    ):
        assert torch.equal(ours, theirs)
    assert not torch.equal(left.batch(4, 8, 0.5).pixels, left.batch(5, 8, 0.5).pixels)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_strengths_are_those_of_what_was_damaged(share):
    source = CropSource(load_photos(), (0, 6), (0.6, 1.0))
    batch = CropBank(source, 15, 32).batch(0, 8, share)
    assert ((batch.degradation > 0).sum(1) == share).all()


def test_layout_is_in_shares_of_the_photograph():
    left, top, side = 100.0, 50.0, 200.0
    assert layout_of(Crop(0, left, top, side, True), (400, 250)) == (0.5, 0.6, 0.8)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_damage_grows_with_its_strength(name):
    picture = next(photo_crops(1, 64))[0]

    def error(strength: float) -> float:
        damaged = degrade(picture, name, strength, np.random.default_rng(0))
        assert damaged.shape == picture.shape and damaged.dtype == torch.uint8
        return float((damaged.float() - picture.float()).square().mean())

    errors = [error(strength) for strength in (0.0, 0.4, 0.7, 1.0)]
    assert errors == sorted(errors)
    assert errors[0] < errors[-1] / 4


def test_vicreg_terms_follow_their_equations():
    features = torch.randn(20, 5, generator=torch.Generator().manual_seed(0)) * 0.5
    covariance = np.cov(features.T.numpy())
    spread, correlation = vicreg(features)
    hinge = np.maximum(0, 1 - np.sqrt(np.diag(covariance) + 1e-4)).mean()
    assert float(spread) == pytest.approx(hinge, rel=1e-4)
    off_diagonal = (covariance**2).sum() - (np.diag(covariance) ** 2).sum()
    assert float(correlation) == pytest.approx(off_diagonal / 5, rel=1e-4)


def test_reference_crops_are_addressed_by_index():
    whole = torch.cat(list(photo_crops(7, 32, batch_size=3)))
    assert whole.shape == (7, 3, 32, 32) and whole.dtype == torch.uint8
    assert torch.equal(torch.cat(list(photo_crops(3, 32, start=4))), whole[4:])
    assert [batch.shape[0] for batch in photo_crops(7, 32, batch_size=3)] == [3, 3, 1]
    source = reference_source()
    assert [source.crop(index).photo for index in islice(range(99), 16)] == [*range(15), 0]
