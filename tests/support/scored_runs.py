"""Tiny runs on disk and tiny extractors, for tests of scores."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dit_accel.runs import ImageRecord, ManifestWriter, RunFolder, image_writer, pixel_sha256


class TinyExtractor:
    """A fixed random projection of 8 x 8 pixels: as an extractor, and quick to look."""

    version = "1"
    resize = "mean over 8 x 8 blocks"

    def __init__(self, name: str = "ref", dim: int = 6, seed: int = 0) -> None:
        self.name, self.dim = name, dim
        draw = torch.Generator().manual_seed(seed)
        self._weights = torch.randn(192, dim, generator=draw) / 8
        self.weights_sha256 = hashlib.sha256(self._weights.numpy().tobytes()).hexdigest()
        self.seen = 0

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        self.seen += len(images)
        small = torch.nn.functional.adaptive_avg_pool2d(images.float() / 255, 8)
        rows = small.flatten(1) @ self._weights
        return {"features": rows, "logits": 3 * rows, "spatial": rows[:, :4]}

    def text_features(self, prompts: list[str]) -> Tensor:
        seeds = [int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) for text in prompts]
        rows = [torch.randn(self.dim, generator=torch.Generator().manual_seed(s)) for s in seeds]
        return torch.stack(rows)


def pictures(count: int, seed: int = 0, size: int = 16) -> np.ndarray:
    """Random smooth pictures, uint8 ``[count, size, size, 3]``."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bilinear")
    return (smooth.permute(0, 2, 3, 1) * 255).round().byte().numpy()


def write_run(
    path: Path,
    images: np.ndarray,
    *,
    present: Collection[int] | None = None,
    block_size: int = 8,
    seed: int = 0,
    prompt: Callable[[int], str] | None = None,
    plan: str = "dense",
) -> RunFolder:
    """A run of ``images``, of which only ``present`` (all by default) were made."""
    identity = {"num_samples": len(images), "plan": plan, "seed": seed}
    folder = RunFolder.create_or_resume(
        path, identity=identity, settings={}, environment={}, block_size=block_size
    )
    writer = image_writer(folder)
    with ManifestWriter(folder, 0) as manifest:
        for block in folder.blocks():
            made = {i: images[i] for i in block if present is None or i in present}
            places = writer.write(block, made)
            manifest.append(
                _record(i, pixels, places[i], seed + i, prompt) for i, pixels in made.items()
            )
    return folder


def _record(
    index: int,
    pixels: np.ndarray,
    place: tuple[str, str | None],
    seed: int,
    prompt: Callable[[int], str] | None,
) -> ImageRecord:
    file, member = place
    return ImageRecord(
        index=index,
        seed=seed,
        class_label=index % 3 if prompt is None else None,
        prompt=None if prompt is None else prompt(index),
        file=file,
        member=member,
        sha256=pixel_sha256(pixels),
        rank=0,
        host="here",
        pid=1,
        batch="b",
        batch_size=1,
        seconds=0.1,
        time=float(index),
    )
