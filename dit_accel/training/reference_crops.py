"""The real pictures that samples of ``dit-photos`` are compared with.

They come from the distribution that the model was trained on (its recipe's crop scale, every
photograph equally often), out of a random stream that nothing is trained on.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from dit_accel.resources import config_folder

from .config import load_recipe
from .photos import CropSource
from .ref_bank import to_bytes
from .streams import Stream, training_crops


def photo_crops(count: int, size: int, *, start: int = 0, batch_size: int = 64) -> Iterator[Tensor]:
    """Crops ``start .. start + count`` of the fixed stream, as uint8 batches ``[B, 3, S, S]``.

    Crop ``i`` shows photograph ``i % 15`` and never changes, so that ranges which do not overlap
    are independent sets.  A crop takes about 5 ms of one CPU core.

    Args:
        count: how many crops.
        size: S, side in pixels.
        start: index of the first.
        batch_size: B; the last batch may be smaller.
    """
    source = reference_source()
    for first in range(start, start + count, batch_size):
        pixels, _ = source.batch(first, min(batch_size, start + count - first), size)
        yield to_bytes(pixels)


def reference_source() -> CropSource:
    """The stream itself, which also knows where each crop lies."""
    return training_crops(load_recipe(config_folder("train") / "dit_photos.yaml"), Stream.REFERENCE)
