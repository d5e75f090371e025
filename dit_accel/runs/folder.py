"""The run folder: begun once, then only ever continued by the same configuration."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dit_accel.errors import mismatch
from dit_accel.runs.atomic import (
    atomic_write,
    create_exclusively,
    json_bytes,
    remove_abandoned,
)
from dit_accel.runs.config_file import RunConfig, differences, plain, read_config
from dit_accel.runs.errors import RunFolderError, cannot_write
from dit_accel.runs.locking import briefly_locked

FORMATS = ("png", "npz", "webdataset")
_CONFIG = "config.yaml"
_REMEDY = "give another output folder, or the old values, to go on"


class RunFolder:
    """A folder that holds one image set; made by `create_or_resume` or `read`.

    Attributes:
        path: the folder.
        identity: everything that decides the pictures.
        settings: everything else: of this launch if resumed, of the first one if read.
        notices: what a user should be told about how the folder was found.
    """

    def __init__(self, path: Path, config: RunConfig, notices: list[str] | None = None) -> None:
        self.path = path
        self.identity = config.identity
        self.settings = config.settings
        self.fingerprint = config.fingerprint
        self.format = config.format
        self.block_size = config.block_size
        self.notices = notices or []

    @classmethod
    def create_or_resume(
        cls,
        path: Path,
        *,
        identity: Mapping[str, Any],
        settings: Mapping[str, Any],
        environment: Mapping[str, Any],
        block_size: int,
    ) -> RunFolder:
        """Begin the set at `path`, or go on with it; safe to call from any number of processes.

        The first process writes `identity`, which holds `num_samples`, the layout
        (``settings["format"]``, PNG if not given, and `block_size`), `settings` and `environment`.
        For all others `identity` must be the same; `num_samples` may have grown, since image i
        depends on i alone (an identity of which that is not true must hold the number under a
        second key). `settings` may differ, except for the format; the first `block_size` stays.

        Raises:
            RunFolderError: if the folder holds another set or other things; lists what differs.
        """
        path = Path(path)
        asked = _asked(identity, settings, block_size)
        told = plain(environment, "environment")
        try:
            path.mkdir(parents=True, exist_ok=True)
            with briefly_locked(path / ".lock"):
                folder = cls(path, *_begin_or_continue(path, asked))
                folder._keep_environment(told)
            # Not under the lock, for which other ranks wait: this walks through all images.
            if removed := remove_abandoned(path):
                folder.notices.append(f"removed {removed} unfinished files of killed processes")
        except OSError as error:
            raise cannot_write(path, error) from error
        return folder

    @classmethod
    def read(cls, path: Path) -> RunFolder:
        """Open the set at `path` for reading.

        Raises:
            RunFolderError: if there is none.
        """
        path = Path(path)
        if not (path / _CONFIG).is_file():
            raise RunFolderError(
                f"{path} is no run folder: it has no {_CONFIG}; give the output folder of "
                "'dit-accel sample'"
            )
        return cls(path, read_config(path / _CONFIG))

    @property
    def num_samples(self) -> int:
        """Images of the whole set."""
        return int(self.identity["num_samples"])

    def blocks(self) -> list[range]:
        """Return the indices of the set in ranges of `block_size`; the last may be shorter."""
        size, end = self.block_size, self.num_samples
        return [range(start, min(start + size, end)) for start in range(0, end, size)]

    @property
    def images(self) -> Path:
        """Folder of the images."""
        return self.path / "images"

    @property
    def manifest(self) -> Path:
        """Folder of the manifests, one file a rank."""
        return self.path / "manifest"

    @property
    def claims(self) -> Path:
        """Folder of the claims: which process works on which block."""
        return self.path / "claims"

    @property
    def statistics(self) -> Path:
        """Folder of the running statistics of features."""
        return self.path / "statistics"

    @property
    def features(self) -> Path:
        """Folder of cached features."""
        return self.path / "features"

    @property
    def scores(self) -> Path:
        """File of the scores, one JSON line each."""
        return self.path / "scores.jsonl"

    @property
    def environment(self) -> Path:
        """JSON file of the versions and the hardware of the first launch."""
        return self.path / "environment.json"

    def _keep_environment(self, environment: dict[str, Any]) -> None:
        if create_exclusively(self.environment, json_bytes(environment)):
            return
        try:
            first = json.loads(self.environment.read_text(encoding="utf-8"))
        except ValueError:
            first = {}
        changed = [key for key, _, _ in differences(first, environment)]
        if changed:
            content = json_bytes(environment)
            name = f"environment-{hashlib.sha256(content).hexdigest()[:8]}.json"
            create_exclusively(self.path / name, content)
            self.notices.append(
                f"the environment is not the first launch's ({', '.join(changed[:8])} differ); "
                f"kept in {name}"
            )


def _asked(identity: Mapping[str, Any], settings: Mapping[str, Any], block_size: int) -> RunConfig:
    """Return the checked configuration of this launch."""
    config = RunConfig(
        identity=plain(identity, "identity"),
        format=settings.get("format", "png"),
        block_size=block_size,
        settings=plain(settings, "settings"),
    )
    count = config.identity.get("num_samples")
    if type(count) is not int or count < 1:
        remedy = "say how many images the set has"
        raise RunFolderError(f"num_samples: {mismatch(count, 'a positive integer', remedy)}")
    if type(block_size) is not int or block_size < 1:
        raise RunFolderError(
            f"block_size: {mismatch(block_size, 'a positive integer', 'for instance 64')}"
        )
    if config.format not in FORMATS:
        remedy = "png is read everywhere"
        raise RunFolderError(
            f"format: {mismatch(config.format, 'one of ' + ', '.join(FORMATS), remedy)}"
        )
    return config


def _begin_or_continue(path: Path, asked: RunConfig) -> tuple[RunConfig, list[str]]:
    """Return the configuration that holds in the folder, and what to tell about it."""
    file = path / _CONFIG
    if not file.exists():
        _refuse_other_things(path)
        if create_exclusively(file, asked.to_yaml()):
            return asked, []
    stored = read_config(file)
    return _continued(path, stored, asked)


def _refuse_other_things(path: Path) -> None:
    # Hidden files do not make a folder somebody's: our own lock, a file manager's notes.
    others = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
    if others and _CONFIG not in others:
        raise RunFolderError(
            f"{path} holds other things ({', '.join(others[:3])}{', …' * (len(others) > 3)}) and "
            f"no {_CONFIG}; give a new or an empty output folder"
        )


def _continued(path: Path, stored: RunConfig, asked: RunConfig) -> tuple[RunConfig, list[str]]:
    changes = list(differences(stored.identity, asked.identity))
    count, wanted = stored.identity["num_samples"], asked.identity["num_samples"]
    grows = [key for key, _, _ in changes] == ["num_samples"] and wanted > count
    if stored.format != asked.format:
        changes.append(("format", stored.format, asked.format))
        grows = False
    if changes and not grows:
        raise RunFolderError(_refusal(path, changes, shrinks=wanted < count))
    held = dataclasses.replace(
        asked, identity=asked.identity if grows else stored.identity, block_size=stored.block_size
    )
    if not grows:
        return held, []
    with atomic_write(path / _CONFIG, durable=True) as file:
        file.write(dataclasses.replace(held, settings=stored.settings).to_yaml())
    return held, [f"the set grows from {count} to {wanted} images; those there are kept"]


def _refusal(path: Path, changes: list[tuple[str, str, str]], shrinks: bool) -> str:
    lines = [f"  {key}: {old} → {new}" for key, old, new in changes]
    note = "\n(num_samples may grow, not shrink: the images are there already)" if shrinks else ""
    head = f"{path} holds another image set; what differs (there → asked for):"
    return "\n".join([head, *lines]) + note + f"\n{_REMEDY}"
