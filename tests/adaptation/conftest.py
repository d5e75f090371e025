"""Adaptations small enough to be run whole in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from saved_pipelines import save_tiny_dit
from saved_text_pipelines import save_tiny_pixart
from tiny_adaptations import document

from dit_accel.adaptation.command import make_accelerator
from dit_accel.adaptation.config import AdaptationConfig
from dit_accel.adaptation.prepare import prepare
from dit_accel.adaptation.session import Session


@pytest.fixture(scope="session")
def tiny_dit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_dit(tmp_path_factory.mktemp("dit"))


@pytest.fixture(scope="session")
def tiny_pixart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pixart(tmp_path_factory.mktemp("pixart"))


@pytest.fixture
def open_session(tiny_dit: Path, tmp_path: Path) -> Callable[..., Session]:
    """A session of the tiny DiT, in a folder of that name."""

    def opened(name: str = "run", model: Path = tiny_dit, **changes: Any) -> Session:
        config = AdaptationConfig(**document(model, tmp_path / name, **changes))
        return Session(prepare(config), make_accelerator(config))

    return opened
