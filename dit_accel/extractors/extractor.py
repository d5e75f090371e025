"""What an extractor is: a named, versioned, hashed rule that turns pictures into features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dit_accel.errors import DitAccelError, mismatch


@runtime_checkable
class Extractor(Protocol):
    """Pictures in, features out.

    Two numbers may be compared only if name, version, weights and resize of their extractors are
    equal, which is why every record of a score holds `extractor_record`.

    Attributes:
        name: the key of `dit_accel.extractors.EXTRACTORS`.
        version: raised when the same picture and weights give other features than before.
        dim: width of ``"features"``.
        resize: in words, how a picture gets to the size that the network sees.
        weights_sha256: of the weights file, in hexadecimal.
    """

    name: str
    version: str
    dim: int
    resize: str
    weights_sha256: str

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Extract features of uint8 pictures ``[B, 3, H, W]`` on any device.

        Returns:
            float32 tensors on the extractor's device: ``"features"`` ``[B, dim]``; of Inception
            also ``"logits"`` ``[B, 1008]`` and ``"spatial"`` ``[B, 2023]``.
        """
        ...


def extractor_record(extractor: Extractor) -> dict[str, str]:
    """Say which extractor made a number: the part of a score's record that decides it."""
    return {
        "name": extractor.name,
        "version": extractor.version,
        "sha256": extractor.weights_sha256,
        "resize": extractor.resize,
    }


def check_images(images: Tensor) -> None:
    """Refuse what is not a batch of uint8 pictures.

    Raises:
        DitAccelError: dtype or shape is not uint8 ``[B, 3, H, W]``.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        found = f"{str(images.dtype).removeprefix('torch.')} {list(images.shape)}"
        remedy = "extractors resize and normalise by themselves, so hand them the pictures as saved"
        raise DitAccelError(f"images: {mismatch(found, 'uint8 [B, 3, H, W]', remedy)}")


@contextmanager
def exact_inference() -> Iterator[None]:
    """No gradients, no autocast, no TF32: the same features whatever the caller has switched on.

    cuDNN takes TF32 for float32 convolutions unless told otherwise, which moves Inception features
    by about 1e-3 of their size. Serves as a decorator too.
    """
    matmul = torch.backends.cuda.matmul
    allowed, matmul.allow_tf32 = matmul.allow_tf32, False
    try:
        with (
            torch.no_grad(),
            torch.autocast("cuda", enabled=False),
            torch.autocast("cpu", enabled=False),
            torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False),
        ):
            yield
    finally:
        matmul.allow_tf32 = allowed


def extract(extractor: Extractor, batches: Iterable[Tensor]) -> dict[str, NDArray[np.float32]]:
    """Extract features of all batches, in their order.

    The networks run in evaluation mode and treat every picture by itself, so how pictures fall into
    batches changes features only by floating-point rounding (relative 1e-5).

    Args:
        extractor: where the features come from; it moves the pictures to its own device.
        batches: uint8 ``[B, 3, H, W]``, sizes may differ from batch to batch.

    Returns:
        Arrays ``[N, D]`` float32 by name, as the extractor names them.

    Raises:
        DitAccelError: there is no batch.
    """
    parts: dict[str, list[NDArray[Any]]] = {}
    for images in batches:
        for name, values in extractor(images).items():
            parts.setdefault(name, []).append(values.float().cpu().numpy())
    if not parts:
        raise DitAccelError("images: got none, expected at least one batch; nothing to extract")
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}
