"""From the state of a training run to a folder that replaces the shipped one whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from .checkpoint import left_by, load_checkpoint
from .config import Recipe


def averaged_weights(config: Recipe) -> list[Tensor]:
    """The transformer's running average, in the order of its parameters.

    Raises:
        DitAccelError: the transformer was not trained yet.
    """
    path = left_by("transformer", config.output / "transformer" / "checkpoint.pt")
    weights: list[Tensor] = load_checkpoint(path)["ema"]["shadow_params"]
    return weights


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new folder to write into; at the end it takes the place of ``folder``, unless it failed."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        for path in filter(Path.is_file, partial.rglob("*")):
            path.chmod(0o644)  # weights are written for their owner alone, and packaged as they are
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
