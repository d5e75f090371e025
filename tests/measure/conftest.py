"""A tiny pipeline of each family on disk, shared by the tests of a session."""

from pathlib import Path

import pytest
from saved_pipelines import save_tiny_dit
from saved_text_pipelines import save_tiny_pixart


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_dit(tmp_path_factory.mktemp("tiny_dit"))


@pytest.fixture(scope="session")
def tiny_text_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pixart(tmp_path_factory.mktemp("tiny_pixart"))
