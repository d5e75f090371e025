"""``config.yaml`` of a run folder: what it holds, and how two of them differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dit_accel.errors import show
from dit_accel.runs.errors import RunFolderError, cannot_read

_HEADER = (
    "# Written by dit_accel when this image set was begun. `identity` decides every picture:\n"
    "# only the same identity may go on in this folder. `settings` are those of the first launch.\n"
)
_DAMAGED = (
    "if a copy of it exists, put that back; else give another output folder (the images here "
    "stay as they are)"
)
ABSENT = "(absent)"


@dataclass(frozen=True)
class RunConfig:
    """The content of ``config.yaml``.

    Attributes:
        identity: everything that decides the pictures, `num_samples` among it.
        format: how images are stored; fixed when the set is begun.
        block_size: indices a block; fixed as well.
        settings: everything else of the first launch, for the reader.
    """

    identity: dict[str, Any]
    format: str
    block_size: int
    settings: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the identity's canonical JSON."""
        text = json.dumps(self.identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_yaml(self) -> bytes:
        """Return the file's bytes."""
        document = {
            "fingerprint": self.fingerprint,
            "identity": self.identity,
            "layout": {"format": self.format, "block_size": self.block_size},
            "settings": self.settings,
        }
        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
        if yaml.safe_load(text) != document:  # PyYAML loses the rarer line breaks, U+0085 say
            text = yaml.safe_dump(document, sort_keys=False, width=100)
        return (_HEADER + text).encode()


def read_config(path: Path) -> RunConfig:
    """Read ``config.yaml``.

    Raises:
        RunFolderError: if it is cut off, edited, or no such file at all.
    """
    try:
        # Not strict_yaml: what safe_dump wrote (YAML 1.1) only safe_load reads back the same.
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        config = RunConfig(
            identity=dict(document["identity"]),
            format=str(document["layout"]["format"]),
            block_size=int(document["layout"]["block_size"]),
            settings=dict(document["settings"]),
        )
        intact = document["fingerprint"] == config.fingerprint
    except OSError as error:
        raise cannot_read(path, error) from error
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise RunFolderError(
            f"{path} is damaged or no run's configuration ({type(error).__name__}); {_DAMAGED}"
        ) from error
    if not intact:
        raise RunFolderError(f"{path} was edited: its identity lost its fingerprint; {_DAMAGED}")
    return config


def plain(mapping: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return `mapping` as JSON would give it back: tuples as lists, keys as text.

    Raises:
        RunFolderError: if JSON has no form for something in it.
    """
    try:
        result: dict[str, Any] = json.loads(json.dumps(dict(mapping), allow_nan=False))
    except (TypeError, ValueError) as error:
        remedy = "give texts, finite numbers, truth values, lists and mappings of these"
        raise RunFolderError(f"{name}: {error}; {remedy}") from error
    return result


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (dotted key, old value, new value), both as text, wherever two documents differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            place = f"{path}.{key}" if path else str(key)
            if key not in old:
                yield place, ABSENT, show(new[key])
            elif key not in new:
                yield place, show(old[key]), ABSENT
            else:
                yield from differences(old[key], new[key], place)
    elif old != new or type(old) is not type(new):
        yield path, show(old), show(new)
