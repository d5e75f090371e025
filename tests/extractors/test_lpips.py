"""LPIPS is torchmetrics' on torchvision's AlexNet, and downloads nothing behind our back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dit_accel.errors import DitAccelError
from dit_accel.extractors import lpips
from dit_accel.extractors.weights import WeightsError, WeightsFile, sha256_of

torchvision = pytest.importorskip("torchvision")


@pytest.fixture
def alexnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Random weights where torchvision looks for its own, in place of the published ones."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("DIT_ACCEL_WEIGHTS", raising=False)
    path = tmp_path / "hub/checkpoints" / lpips.ALEXNET_WEIGHTS.name
    path.parent.mkdir(parents=True)
    torch.save(torchvision.models.alexnet().state_dict(), path)
    file = WeightsFile(path.name, sha256_of(path), "https://nowhere.invalid/")
    monkeypatch.setattr(lpips, "ALEXNET_WEIGHTS", file)
    return path


def test_it_is_torchmetrics_lpips(alexnet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity

    monkeypatch.setattr(  # torchvision's own check of the published hash
        "torchvision.models._api.load_state_dict_from_url",
        lambda *_, **__: torch.load(alexnet, weights_only=True),
    )
    a, b = torch.randint(0, 256, (2, 3, 3, 64, 72), dtype=torch.uint8)
    expected = learned_perceptual_image_patch_similarity(
        a / 255, b / 255, net_type="alex", reduction="none", normalize=True
    )
    metric = lpips.load_lpips()
    torch.testing.assert_close(metric(a, b), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(metric(a / 255, b / 255), metric(a, b))
    torch.testing.assert_close(metric(a[:1], b[:1]), metric(a, b)[:1], rtol=1e-5, atol=1e-6)
    assert metric(a, a).tolist() == [0, 0, 0]


def test_pairs_must_fit_and_be_in_range(alexnet: Path) -> None:
    metric = lpips.load_lpips(alexnet)
    images = torch.zeros(2, 3, 64, 64)
    with pytest.raises(DitAccelError, match=r"others: got \[1, 3, 64, 64\]"):
        metric(images, images[:1])
    with pytest.raises(DitAccelError, match=r"images: got \[-1\.0, 1\.0\], expected values in"):
        metric(images, torch.linspace(-1, 1, 64).expand(2, 3, 64, 64))


def test_without_torchvision_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DitAccelError, match="torchvision is not installed"):
        lpips.load_lpips()


def test_offline_it_does_not_reach_for_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"alexnet-owt-7be5be79\.pth"):
        lpips.load_lpips()
