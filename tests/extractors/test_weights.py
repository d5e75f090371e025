"""Weights are found in order, checked by hash, and downloaded once, whole or not at all."""

from __future__ import annotations

import hashlib
import multiprocessing
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dit_accel.extractors.weights import (
    WeightsError,
    WeightsFile,
    find_weights,
    hub_file,
    search_places,
    torch_checkpoints,
)

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `CONTENT`, in the way that the address asks for, and counts."""

    requests = 0
    started = threading.Event()
    release = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        if self.path == "/absent":
            return self.send_error(404)
        body = b"<html>log in first</html>" if self.path == "/page" else CONTENT
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        half = len(body) // 2
        self.wfile.write(body[:half])
        self.wfile.flush()
        if self.path == "/truncated":
            return None
        if self.path == "/slow":
            self.server.started.set()
            self.server.release.wait(30)
        elif self.path == "/unhurried":
            time.sleep(0.2)
        self.wfile.write(body[half:])
        return None

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.started, server.release = threading.Event(), threading.Event()
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.release.set()
        server.shutdown()


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("DIT_ACCEL_WEIGHTS", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def published(server: Server, path: str = "/good") -> WeightsFile:
    return WeightsFile("net.pth", SHA256, f"http://127.0.0.1:{server.server_port}{path}")


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


UNREACHABLE = WeightsFile("net.pth", SHA256, "http://127.0.0.1:9/net.pth", aliases=("same.pth",))


def test_the_path_comes_first_then_the_variable_then_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = put(torch_checkpoints() / "same.pth")
    assert find_weights(UNREACHABLE) == cached
    monkeypatch.setenv("DIT_ACCEL_WEIGHTS", str(tmp_path / "weights"))
    assert find_weights(UNREACHABLE) == cached
    by_variable = put(tmp_path / "weights/net.pth")
    assert find_weights(UNREACHABLE) == by_variable
    explicit = put(tmp_path / "elsewhere/net.pth")
    assert find_weights(UNREACHABLE, explicit) == explicit
    assert find_weights(UNREACHABLE, explicit.parent) == explicit


def test_files_of_the_hub_have_a_folder_of_their_own_and_the_hubs_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = hub_file("someone/net-large", "model.safetensors", SHA256)
    monkeypatch.setenv("DIT_ACCEL_WEIGHTS", str(tmp_path / "weights"))
    assert [place.path for place in search_places(file)] == [
        tmp_path / "weights/net-large/model.safetensors",
        None,
    ]
    repository = tmp_path / "hub/models--someone--net-large"
    put(repository / "refs/main", b"abc")
    cached = put(repository / "snapshots/abc/model.safetensors")
    assert find_weights(file) == cached
    by_variable = put(tmp_path / "weights/net-large/model.safetensors")
    assert find_weights(file) == by_variable


def test_a_path_that_is_given_is_not_replaced_by_another(tmp_path: Path) -> None:
    put(torch_checkpoints() / "net.pth")
    with pytest.raises(WeightsError, match=r"got .*expected the file net\.pth or a folder"):
        find_weights(UNREACHABLE, tmp_path / "wrong.pth")


def test_other_bytes_are_refused_and_left_where_they_are(tmp_path: Path) -> None:
    cached = put(torch_checkpoints() / "net.pth", CONTENT[:1000])
    with pytest.raises(WeightsError, match=f"SHA-256 got .*expected {SHA256}"):
        find_weights(UNREACHABLE)
    assert cached.read_bytes() == CONTENT[:1000]


def test_a_download_lands_in_torchs_cache_and_is_not_repeated(server: Server) -> None:
    path = find_weights(published(server))
    assert path == torch_checkpoints() / "net.pth"
    assert path.read_bytes() == CONTENT
    assert find_weights(published(server)) == path
    assert server.requests == 1
    assert not list(path.parent.glob("*.part"))


@pytest.mark.parametrize("path", ["/truncated", "/page", "/absent"])
def test_a_download_gone_wrong_leaves_nothing(path: str, server: Server) -> None:
    with pytest.raises(WeightsError) as error:
        find_weights(published(server, path))
    assert SHA256 in str(error.value) and f"{server.server_port}{path}" in str(error.value)
    assert not [p for p in torch_checkpoints().iterdir() if p.suffix != ".lock"]
    assert find_weights(published(server)).read_bytes() == CONTENT


def test_of_many_at_once_one_downloads(server: Server) -> None:
    file = published(server, "/unhurried")
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(find_weights, [file] * 4))
    assert len(set(paths)) == 1
    assert server.requests == 1
    assert paths[0].read_bytes() == CONTENT


def test_a_download_killed_in_the_middle_holds_nobody_up(server: Server) -> None:
    process = multiprocessing.get_context("fork").Process(
        target=find_weights, args=(published(server, "/slow"),), daemon=True
    )
    process.start()
    assert server.started.wait(30)
    deadline = time.monotonic() + 30
    while not list(torch_checkpoints().glob("*.part")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.join()
    assert not (torch_checkpoints() / "net.pth").exists()
    path = find_weights(published(server))
    assert path.read_bytes() == CONTENT
    assert not list(path.parent.glob("*.part"))


@pytest.mark.parametrize("setting", ["1", "true", "ON"])
def test_offline_nothing_is_asked_of_the_network(
    setting: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", setting)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE forbids the download"):
        find_weights(published(server))
    assert server.requests == 0


def test_wrong_bytes_from_the_hub_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = put(tmp_path / "hub/blobs/1", b"something else")
    link = tmp_path / "hub/snapshots/model.safetensors"
    link.parent.mkdir()
    link.symlink_to(blob)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_: str(link))
    with pytest.raises(WeightsError, match="what came was deleted"):
        find_weights(hub_file("someone/net-large", "model.safetensors", SHA256))
    assert not blob.exists() and not link.is_symlink()
    put(blob)
    link.symlink_to(blob)
    assert find_weights(hub_file("someone/net", "model.safetensors", SHA256)) == link


def test_an_address_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as error:
        find_weights(replace(UNREACHABLE, aliases=()))
    text = str(error.value)
    assert "the download failed" in text and UNREACHABLE.url in text and SHA256 in text
