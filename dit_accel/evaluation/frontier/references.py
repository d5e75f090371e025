"""Pictures of dense runs, made once: what all other pictures are compared with."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from dit_accel.evaluation.frontier.entries import Entry, dense_entry
from dit_accel.evaluation.frontier.journal import Decibels
from dit_accel.evaluation.frontier.prepare import PreparedFrontier
from dit_accel.evaluation.frontier.runners import Runners
from dit_accel.measure.candidates import Base
from dit_accel.measure.fidelity import image_psnr
from dit_accel.runs.atomic import atomic_write


class References:
    """Dense pictures by solver and steps, kept in the frontier's folder as float32 arrays.

    Args:
        prepared: the frontier.
        runners: make those that are not there.
    """

    def __init__(self, prepared: PreparedFrontier, runners: Runners) -> None:
        self._prepared, self._runners = prepared, runners
        self._known: dict[Base, torch.Tensor] = {}

    def images(self, base: Base) -> torch.Tensor:
        """`[N, 3, H, W]` in [0, 1], one a seed."""
        if base not in self._known:
            self._known[base] = self._read_or_make(dense_entry(base))
        return self._known[base]

    def _read_or_make(self, entry: Entry) -> torch.Tensor:
        path = self._path(entry)
        if path.is_file():
            return torch.from_numpy(np.load(path, allow_pickle=False))
        images = self._runners.images(entry, self._prepared.specs)
        with atomic_write(path) as file:
            np.save(file, images.numpy(), allow_pickle=False)
        return images

    def _path(self, entry: Entry) -> Path:
        return self._prepared.folder / "dense" / f"{self._prepared.picture_key(entry)}.npy"


def decibels(images: torch.Tensor, reference: torch.Tensor) -> Decibels:
    """PSNR of each picture `[N, 3, H, W]`; `None` where the two are identical.

    A picture that holds NaN, as forecasts may make it, counts 0 dB: the error of black for white.
    """
    return tuple(_decibel(value) for value in image_psnr(images, reference).tolist())


def _decibel(value: float) -> float | None:
    if math.isnan(value):
        return 0.0
    return None if math.isinf(value) else value
