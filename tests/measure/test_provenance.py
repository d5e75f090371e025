"""Provenance: complete, and serialisable as it is."""

import json
import subprocess
from pathlib import Path

import pytest

from dit_accel.measure import provenance as module
from dit_accel.measure.provenance import provenance


def test_says_what_is_needed_to_repeat_it() -> None:
    record = json.loads(json.dumps(provenance(dtype="float32", seeds=[1, 2])))
    assert {"date", "commit", "dirty", "versions", "hardware", "threads"} <= set(record)
    assert {"python", "torch", "diffusers", "dit-accel"} <= set(record["versions"])
    assert {"cpu", "cores", "ram_gib", "gpus"} <= set(record["hardware"])
    assert record["dtype"] == "float32" and record["seeds"] == [1, 2]


def checkout(root: Path) -> Path:
    """A repository that holds the module where the package would."""
    home = root / "dit_accel" / "measure"
    home.mkdir(parents=True)
    (root / "pyproject.toml").touch()
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "-C", str(root), *identity, *command], check=True)
    return home / "provenance.py"


def test_commit_and_dirty_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "__file__", str(checkout(tmp_path)))
    clean = provenance()
    assert len(clean["commit"]) == 40 and clean["dirty"] is False
    (tmp_path / "new").touch()
    assert provenance()["dirty"] is True


def test_a_wheel_inside_a_repository_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = checkout(tmp_path).parent / "site-packages" / "dit_accel" / "measure"
    monkeypatch.setattr(module, "__file__", str(inside / "provenance.py"))
    record = provenance()
    assert record["commit"] is None and record["dirty"] is None
