"""Where published weights are found: path, environment variable, cache, download; hash checked.

Only the published bytes are taken. A record of a score names its extractor, and other weights under
that name would make a number that looks comparable and is not.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import torch

from dit_accel.errors import DitAccelError, mismatch

ENVIRONMENT_VARIABLE = "DIT_ACCEL_WEIGHTS"


class WeightsError(DitAccelError):
    """Weights that are not here and cannot be had, or that are not the published ones."""


@dataclass(frozen=True)
class WeightsFile:
    """A file that somebody published.

    Attributes:
        name: of the file.
        sha256: of its bytes, in hexadecimal.
        url: where it is.
        aliases: other names under which the same bytes are published.
        repository: of the Hugging Face Hub that `url` is in; empty for a file elsewhere.
    """

    name: str
    sha256: str
    url: str
    aliases: tuple[str, ...] = ()
    repository: str = ""

    @property
    def folder(self) -> str:
        """Sub-folder of a folder of weights: Hub files are all called ``model.safetensors``."""
        return self.repository.rpartition("/")[2]


def hub_file(repository: str, name: str, sha256: str) -> WeightsFile:
    """Describe a file at the head of a repository of the Hugging Face Hub."""
    url = f"https://huggingface.co/{repository}/resolve/main/{name}"
    return WeightsFile(name, sha256, url, repository=repository)


class Place(NamedTuple):
    """Where a file is looked for; `path` is None when the place itself does not exist."""

    words: str
    path: Path | None


def find_weights(file: WeightsFile, explicit: Path | None = None) -> Path:
    """Find `file`, downloading it if it is nowhere; one process a machine downloads.

    Args:
        file: what is looked for.
        explicit: the file, or a folder that holds it. If given, nothing else is searched.

    Returns:
        Path of a file whose SHA-256 is `file.sha256`.

    Raises:
        WeightsError: it is nowhere and ``HF_HUB_OFFLINE`` is set or the download failed (the
            message names the file, the places, the hash and the address), or what was found has
            another hash.
    """
    if explicit is not None:
        return _check_hash(file, _explicit_path(file, explicit))
    places = list(search_places(file))
    for place in places:
        if place.path is not None and place.path.is_file():
            return _check_hash(file, place.path)
    if offline():
        raise WeightsError(_absent(file, places, "HF_HUB_OFFLINE forbids the download"))
    from dit_accel.extractors.download import download

    try:
        return download(file)
    except (OSError, HTTPException) as error:  # huggingface_hub's errors are OSErrors too
        raise WeightsError(_absent(file, places, f"the download failed: {error}")) from error


def search_places(file: WeightsFile) -> Iterator[Place]:
    """Yield the places where `file` may be, in the order of the search."""
    root = os.environ.get(ENVIRONMENT_VARIABLE)
    if not root:
        yield Place(f"${ENVIRONMENT_VARIABLE} (not set)", None)
    for name in (file.name, *file.aliases) if root else ():
        path = Path(root or "").expanduser() / file.folder / name
        yield Place(f"{path} (${ENVIRONMENT_VARIABLE})", path)
    if file.repository:
        yield _hub_cache(file)
        return
    for name in (file.name, *file.aliases):
        path = torch_checkpoints() / name
        yield Place(f"{path} ($TORCH_HOME/hub/checkpoints)", path)


def torch_checkpoints() -> Path:
    """Folder where torchvision, torchmetrics and torch-fidelity keep their weights too."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def offline() -> bool:
    """Whether the user forbade downloads, in the words of the Hugging Face libraries."""
    setting = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return setting.upper() in {"1", "ON", "YES", "TRUE"}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _hub_cache(file: WeightsFile) -> Place:
    from huggingface_hub import constants, try_to_load_from_cache

    found = try_to_load_from_cache(file.repository, file.name)
    words = f"{file.repository}/{file.name} in {constants.HF_HUB_CACHE} ($HF_HOME/hub)"
    return Place(words, Path(found) if isinstance(found, str) else None)


def _explicit_path(file: WeightsFile, explicit: Path) -> Path:
    path = explicit / file.name if explicit.is_dir() else explicit
    if path.is_file():
        return path
    expected = f"the file {file.name} or a folder that holds it"
    remedy = f"it is published at {file.url}"
    raise WeightsError(f"weights: {mismatch(str(explicit), expected, remedy)}")


def _check_hash(file: WeightsFile, path: Path) -> Path:
    found = sha256_of(path)
    if found == file.sha256:
        return path
    remedy = f"not the published bytes (a download cut short?), which are at {file.url}"
    raise WeightsError(f"{path}: SHA-256 {mismatch(found, file.sha256, remedy)}")


def _absent(file: WeightsFile, places: list[Place], reason: str) -> str:
    searched = "\n".join(f"    {place.words}" for place in places)
    return (
        f"weights: {file.name} is not on this machine, and {reason}\n"
        f"  searched:\n{searched}\n"
        f"  address: {file.url}\n"
        f"  SHA-256: {file.sha256}\n"
        f"  remedy:  fetch it elsewhere and put it in one of these places, or set "
        f"{ENVIRONMENT_VARIABLE}, or say where it is; extractor 'ref' needs no download"
    )
