"""Checkpoints that survive a kill at any instant, and the log that stays in step with them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from dit_accel.errors import DitAccelError


def left_by(stage: str, path: Path) -> Path:
    """What another stage leaves at ``path``, once it is there.

    Raises:
        DitAccelError: it is not, naming the stage to run.
    """
    if not path.exists():
        raise DitAccelError(f"{path}: missing; run the stage {stage} first")
    return path


def save_atomically(state: dict[str, Any], path: Path) -> None:
    """Write beside the target, flush to disk, then rename: a reader sees old or new, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)


def load_if_present(path: Path) -> dict[str, Any] | None:
    """The last complete checkpoint, or None before the first one."""
    return load_checkpoint(path) if path.exists() else None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint that is known to be there, on the CPU."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def write_json(record: dict[str, Any], path: Path) -> None:
    """Write a small record atomically; its presence is how a stage says that it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(record, indent=2) + "\n")
    os.replace(partial, path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a record written by :func:`write_json`."""
    record: dict[str, Any] = json.loads(path.read_text())
    return record


class RunLog:
    """A JSON-lines log, one record per logged step."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: dict[str, Any]) -> None:
        """Add one record."""
        with self.path.open("a") as stream:
            stream.write(json.dumps(record) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """All records; a last line cut short by a kill is dropped."""
        if not self.path.exists():
            return []
        lines = self.path.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def rewind(self, step: int) -> None:
        """Forget records after ``step``: the steps about to be repeated will log them again."""
        kept = [json.dumps(record) + "\n" for record in self.read() if record["step"] <= step]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + ".partial")
        partial.write_text("".join(kept))
        os.replace(partial, self.path)
