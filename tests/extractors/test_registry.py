"""Extractors are found by name, and nothing heavy is imported before."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from dit_accel.errors import DitAccelError
from dit_accel.extractors import EXTRACTORS, check_extractor_name, load_extractor, registry

NAMES = ["inception-tf", "inception-clean", "dinov2-vitl14", "clip-vit-l-14", "ref"]


def test_these_extractors_exist_and_have_loaders() -> None:
    assert list(EXTRACTORS) == NAMES
    for name, entry in registry._ENTRIES.items():
        check_extractor_name(name)
        module = importlib.import_module(f"dit_accel.extractors.{entry.module}")
        assert callable(getattr(module, entry.loader))


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(DitAccelError, match=r"did you mean 'dinov2-vitl14'\?") as error:
        load_extractor("dinov2-vit-l-14")
    assert all(name in str(error.value) for name in NAMES)


def test_the_extractor_that_ships_takes_no_other_weights(tmp_path: Path) -> None:
    with pytest.raises(DitAccelError, match=r"weights: got .* for extractor 'ref'"):
        load_extractor("ref", weights=tmp_path)


def test_importing_extractors_imports_no_network_library() -> None:
    script = """
import sys, dit_accel
before = set(sys.modules)
import dit_accel.extractors
heavy = ("transformers", "torchvision", "torch_fidelity", "torchmetrics", "cleanfid")
print([name for name in set(sys.modules) - before if name.split(".")[0] in heavy])
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert answer.stdout.strip() == "[]", answer.stderr
