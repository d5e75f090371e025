"""A tiny pipeline on disk, shared by the tests of a session, and computed with by one thread."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from saved_pipelines import save_tiny_dit


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_dit(tmp_path_factory.mktemp("tiny_dit"))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads of a model this small only wait for each other, all the more beside other ranks."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
