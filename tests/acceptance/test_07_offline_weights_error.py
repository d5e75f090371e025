"""Acceptance 7: offline, absent weights are an error that names file, places, hash and address."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from dit_accel.extractors import EXTRACTORS, load_extractor
from dit_accel.extractors.clip import CLIP_WEIGHTS
from dit_accel.extractors.dinov2 import DINOV2_WEIGHTS
from dit_accel.extractors.inception_extractors import INCEPTION_WEIGHTS
from dit_accel.extractors.lpips import ALEXNET_WEIGHTS, load_lpips
from dit_accel.extractors.weights import WeightsError, WeightsFile

CASES: dict[str, tuple[Callable[[], Any], WeightsFile]] = {
    "inception-tf": (lambda: load_extractor("inception-tf"), INCEPTION_WEIGHTS),
    "inception-clean": (lambda: load_extractor("inception-clean"), INCEPTION_WEIGHTS),
    "dinov2-vitl14": (lambda: load_extractor("dinov2-vitl14"), DINOV2_WEIGHTS),
    "clip-vit-l-14": (lambda: load_extractor("clip-vit-l-14"), CLIP_WEIGHTS),
    "lpips": (load_lpips, ALEXNET_WEIGHTS),
}


class Network:
    """Counts the attempts to reach it; all fail."""

    attempts = 0

    def refuse(self, *arguments: Any, **named: Any) -> NoReturn:
        self.attempts += 1
        raise OSError("Network is unreachable")


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network()
    monkeypatch.setattr(socket.socket, "connect", network.refuse)
    monkeypatch.setattr(socket, "getaddrinfo", network.refuse)
    return network


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("DIT_ACCEL_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)


def names_everything(text: str, file: WeightsFile, folder: Path) -> None:
    """The file, every place, the hash, the address, and what to do."""
    cache = folder / "hub" if file.repository else folder / "torch/hub/checkpoints" / file.name
    by_variable = folder / "weights" / file.folder / file.name
    for part in (file.name, str(by_variable), str(cache), file.sha256, file.url, "remedy:"):
        assert part in text


@pytest.mark.parametrize("name", CASES)
def test_with_hf_hub_offline_the_error_says_all_and_nothing_is_asked(
    name: str, network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    load, file = CASES[name]
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE forbids the download") as error:
        load()
    names_everything(str(error.value), file, tmp_path)
    assert network.attempts == 0


@pytest.mark.parametrize("name", ["inception-clean", "dinov2-vitl14", "lpips"])
def test_without_a_network_the_error_says_all(
    name: str, network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # huggingface_hub's patient retries
    load, file = CASES[name]
    with pytest.raises(WeightsError, match="the download failed") as error:
        load()
    names_everything(str(error.value), file, tmp_path)
    assert network.attempts > 0


def test_the_extractor_that_ships_needs_no_network(network: Network) -> None:
    assert set(EXTRACTORS) == {*CASES, "ref"} - {"lpips"}
    images = torch.zeros(1, 3, 128, 128, dtype=torch.uint8)
    assert load_extractor("ref")(images)["features"].shape[0] == 1
    assert network.attempts == 0
