"""The shipped feature network: its contract, and that it sees what acceleration breaks."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from dit_accel.errors import DitAccelError
from dit_accel.extractors import Extractor, extractor_record, load_extractor, ref
from dit_accel.extractors.ref import (
    RefArchitecture,
    RefExtractor,
    RefNetwork,
    load_network,
    load_ref,
    save_network,
)
from dit_accel.resources import reference_model_folder
from dit_accel.scoring.reference import open_reference
from dit_accel.training.degradations import contrast, gaussian_blur, jpeg, low_pass, white_noise
from dit_accel.training.ref_bank import layout_of
from dit_accel.training.ref_scores import (
    changed,
    eigenvalue_ratio,
    fd_ref,
    round_trip,
    without_photographs,
)
from dit_accel.training.reference_crops import photo_crops, reference_source

FOLDER = reference_model_folder("ref-features")
TOY = RefArchitecture(
    size=32,
    channels=(8, 8, 16),
    features=6,
    grid=2,
    grid_channels=3,
    hidden=5,
    photographs=4,
    degradations=3,
)


@pytest.fixture(scope="module")
def extractor() -> RefExtractor:
    return load_ref()


def pictures(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("sides", [(128, 128), (96, 160), (256, 256)])
def test_features_of_pictures_of_any_size(extractor, sides):
    outputs = extractor(pictures(2, 3, *sides))
    assert outputs.keys() == {"features"}
    assert outputs["features"].shape == (2, extractor.dim) == (2, 64)
    assert outputs["features"].dtype == torch.float32
    assert outputs["features"].isfinite().all()


def test_features_do_not_depend_on_the_rest_of_the_batch(extractor):
    batch = pictures(5, 3, 128, 128)
    together = extractor(batch)["features"]
    alone = torch.cat([extractor(picture[None])["features"] for picture in batch])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5 * float(alone.abs().max()))


def test_callers_autocast_and_gradients_change_nothing(extractor):
    batch = pictures(2, 3, 128, 128)
    with torch.autocast("cpu", torch.bfloat16), torch.enable_grad():
        features = extractor(batch)["features"]
    assert not features.requires_grad
    assert torch.equal(features, extractor(batch)["features"])


def test_it_is_an_extractor_found_by_name(extractor):
    found = load_extractor("ref")
    assert isinstance(found, Extractor)
    assert (found.name, found.version, found.dim) == ("ref", "1", 64)
    assert found.weights_sha256 == extractor.weights_sha256


def test_the_hash_is_that_of_the_file_and_of_its_card(extractor):
    weights = (FOLDER / "model.safetensors").read_bytes()
    assert len(weights) <= 2e6
    assert extractor.weights_sha256 == hashlib.sha256(weights).hexdigest()
    assert extractor.weights_sha256 in (FOLDER / "README.md").read_text()


def test_pictures_that_are_not_uint8_are_refused(extractor):
    with pytest.raises(DitAccelError, match="float32"):
        extractor(torch.zeros(1, 3, 128, 128))


def test_missing_weights_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(ref, "reference_model_folder", lambda name: tmp_path / name)
    with pytest.raises(DitAccelError, match=r"train_ref_features\.py"):
        load_ref()


def test_a_stored_network_is_the_same_network(tmp_path: Path):
    torch.manual_seed(0)
    network = RefNetwork(TOY)
    save_network(network, tmp_path / "model.safetensors")
    stored = load_network(tmp_path / "model.safetensors")
    pixels = torch.randn(2, 3, 32, 32)
    assert stored.architecture == TOY
    assert torch.equal(network(pixels), stored(pixels))


def test_standardised_features_leave_the_heads_as_they_were():
    torch.manual_seed(0)
    network = RefNetwork(TOY).requires_grad_(False)
    pixels = torch.randn(9, 3, 32, 32)
    before = network(pixels)
    heads = network.heads(before)
    network.standardise(before.mean(0), before.std(0))
    after = network(pixels)
    torch.testing.assert_close(after.mean(0), torch.zeros(6), rtol=0, atol=1e-4)
    torch.testing.assert_close(after.std(0), torch.ones(6), rtol=1e-4, atol=0)
    for name, value in network.heads(after).items():
        torch.testing.assert_close(value, heads[name], rtol=1e-4, atol=1e-4)


# ---- on the photographs -------------------------------------------------------------------------

START, COUNT = 4096, 120  # the crops that follow those of the shipped reference
REFERENCE = FOLDER / "photos-128.npz"


@pytest.fixture(scope="module")
def reference() -> torch.Tensor:
    with np.load(REFERENCE, allow_pickle=False) as file:
        return torch.from_numpy(file["features"])


@pytest.fixture(scope="module")
def crops() -> torch.Tensor:
    """Real crops that stand for samples."""
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    return torch.cat(list(photo_crops(COUNT, 128, start=START)))


@pytest.fixture(scope="module")
def features(extractor, crops) -> torch.Tensor:
    return extractor(crops)["features"]


@pytest.fixture(scope="module")
def distance(extractor, reference):
    """FD-ref of pictures to the shipped reference."""
    return lambda pictures: fd_ref(extractor(pictures)["features"], reference)


def test_the_shipped_reference_is_of_the_shipped_network(extractor, reference, crops):
    assert open_reference(REFERENCE).made_with == extractor_record(extractor)
    assert reference.shape == (START, 64)
    first = extractor(next(photo_crops(4, 128)))["features"]
    torch.testing.assert_close(first, reference[:4], rtol=1e-3, atol=1e-3)


def test_heads_read_photograph_and_layout(extractor, features):
    source = reference_source()
    drawn = [source.crop(START + index) for index in range(COUNT)]
    heads = extractor.heads(features)
    named = heads["photograph"].argmax(1) == torch.tensor([crop.photo for crop in drawn])
    assert named.float().mean() >= 0.99
    layout = torch.tensor([layout_of(crop, source.photos[crop.photo].size) for crop in drawn])
    blind = (layout - layout.mean(0)).abs().mean(0)  # what a constant guess gets wrong
    wrong = (torch.cat([heads["centre"], heads["side"][:, None]], 1) - layout).abs().mean(0)
    assert (wrong < blind / 3).all()


def test_features_of_real_crops_are_standardised_and_none_is_dead(reference):
    assert eigenvalue_ratio(reference) > 1e-5
    torch.testing.assert_close(reference.mean(0), torch.zeros(64), rtol=0, atol=0.1)
    torch.testing.assert_close(reference.std(0), torch.ones(64), rtol=0.1, atol=0)


@pytest.mark.parametrize(
    ("change", "amounts"),
    [
        (gaussian_blur, (0.5, 1.0, 2.0)),
        (partial(white_noise, rng=np.random.default_rng(0)), (0.02, 0.04, 0.08)),
        (jpeg, (50, 20, 5)),
        (low_pass, (1.5, 2.0, 4.0)),
        (contrast, (0.9, 0.8, 0.6)),
    ],
    ids=["blur", "noise", "jpeg", "low_pass", "contrast"],
)
def test_fd_ref_grows_with_damage(crops, distance, change, amounts):
    distances = [
        distance(changed(crops, lambda picture, a=amount: change(picture, a))) for amount in amounts
    ]
    assert distances == sorted(distances)
    assert distances[-1] > 2 * distance(crops)


@pytest.mark.slow  # the damages above are told apart by the same features
def test_real_crops_are_much_closer_than_blurred_ones(crops, distance):
    blurred = distance(changed(crops, lambda picture: gaussian_blur(picture, 1.0)))
    assert distance(crops) < blurred / 3
    assert distance(crops) < distance(round_trip(crops)) < blurred


def test_missing_photographs_show(features, reference):
    distances = [fd_ref(without_photographs(features, gone), reference) for gone in (0, 1, 3, 7)]
    assert distances == sorted(distances)
    assert distances[1] > 1.5 * distances[0]
