"""DINOv2 features follow dgm-eval; the published network is known by its size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open

from dit_accel.extractors import Extractor, dinov2, extract
from dit_accel.extractors.weights import WeightsError, hub_file, sha256_of

transformers = pytest.importorskip("transformers")


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny network on disk, under the names of parameters that the published file has."""
    config = transformers.Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=518, patch_size=14
    )
    model = transformers.Dinov2Model(config)
    model.embeddings.position_embeddings.data.normal_()
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    file = hub_file("facebook/dinov2-large", path.name, sha256_of(path))
    monkeypatch.setattr(dinov2, "DINOV2_WEIGHTS", file)
    monkeypatch.setattr(dinov2, "vit_large_14", lambda: config)
    return path


def test_features_are_the_class_token_of_the_pictures_as_dgm_eval_prepares_them(
    weights: Path,
) -> None:
    extractor = dinov2.load_dinov2(weights)
    assert isinstance(extractor, Extractor) and extractor.dim == 24
    images = torch.randint(0, 256, (2, 3, 60, 90), dtype=torch.uint8)
    reference = transformers.Dinov2Model.from_pretrained(weights.parent).eval()
    positions = reference.embeddings.position_embeddings.detach().numpy()
    reference.embeddings.position_embeddings.data = torch.from_numpy(original_positions(positions))
    pixels = []
    for image in images:
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        scaled = np.asarray(picture.resize((224, 224), Image.Resampling.BICUBIC)) / 255
        normalised = (scaled - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        pixels.append(torch.from_numpy(normalised).permute(2, 0, 1))
    with torch.no_grad():
        expected = reference(torch.stack(pixels).float()).last_hidden_state[:, 0]
    torch.testing.assert_close(extractor(images)["features"], expected, rtol=1e-4, atol=1e-4)


def original_positions(positions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Interpolate 37 x 37 to 16 x 16 by facebookresearch/dinov2's rule, written out."""
    taps = np.zeros((16, 37))
    for row in range(16):
        position = (row + 0.5) * 37 / 16.1 - 0.5
        for tap in range(int(np.floor(position)) - 1, int(np.floor(position)) + 3):
            taps[row, np.clip(tap, 0, 36)] += cubic(abs(position - tap))
    grid = positions[0, 1:].reshape(37, 37, -1)
    resized = np.einsum("yi,xj,ijd->yxd", taps, taps, grid).reshape(256, -1)
    return np.concatenate([positions[0, :1], resized])[None].astype(np.float32)


def cubic(distance: float, a: float = -0.75) -> float:
    """Keys' cubic convolution kernel with torch's parameter."""
    if distance <= 1:
        return (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    return a * (distance**3 - 5 * distance**2 + 8 * distance - 4)


def test_positions_that_fit_are_left_alone() -> None:
    positions = torch.randn(1, 17, 3)
    assert dinov2.resize_positions(positions, 4) is positions


def test_batches_do_not_matter(weights: Path) -> None:
    extractor = dinov2.load_dinov2(weights)
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    alone, together = extract(extractor, images.split(1)), extract(extractor, [images])
    np.testing.assert_allclose(alone["features"], together["features"], rtol=1e-5, atol=1e-5)


def test_the_published_network_has_the_published_files_size() -> None:
    with torch.device("meta"):
        model = transformers.Dinov2Model(dinov2.vit_large_14())
    assert sum(p.numel() for p in model.parameters()) == 304_368_640


def test_the_tiny_file_has_the_published_names(weights: Path) -> None:
    """Otherwise the tests above would not show that the published file loads."""
    with safe_open(weights, "pt") as file:
        assert "encoder.layer.0.attention.attention.query.weight" in file.keys()  # noqa: SIM118


def test_a_file_without_the_parameters_is_refused(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dinov2.vit_large_14()
    config.num_hidden_layers = 3
    monkeypatch.setattr(dinov2, "vit_large_14", lambda: config)
    expected = r"holds no encoder\.layer\.2.* as Dinov2Model has them \(18 parameters in all\)"
    with pytest.raises(WeightsError, match=expected):
        dinov2.load_dinov2(weights)
