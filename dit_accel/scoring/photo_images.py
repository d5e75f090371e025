"""The real pictures that come with the package: crops of the photographs of ``dit-photos``."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np

from dit_accel.errors import DitAccelError
from dit_accel.runs import pixel_sha256
from dit_accel.scoring.image_sets import digest_of

PHOTOS = "photos"
COUNT, SIZE = 4096, 128


class PhotoImages:
    """The first crops of the stream that nothing is trained on.

    Raises:
        DitAccelError: the packages that hold the photographs are not installed.
    """

    def __init__(self, count: int = COUNT, size: int = SIZE) -> None:
        absent = [name for name in ("skimage", "sklearn") if find_spec(name) is None]
        if absent:
            raise DitAccelError(
                f"{PHOTOS}: {', '.join(absent)} not installed, which hold the photographs; "
                "run pip install 'dit-accel[train]'"
            )
        self.name, self.expected, self.size = PHOTOS, count, size
        self._fingerprint: str | None = None

    def __len__(self) -> int:
        return self.expected

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the pixels of every crop; known for nothing after they were looked at."""
        if self._fingerprint is None:
            for _ in self.images():
                pass
        assert self._fingerprint is not None
        return self._fingerprint

    def images(self) -> Iterator[np.ndarray]:
        """The crops, uint8 ``[size, size, 3]``."""
        from dit_accel.training.reference_crops import photo_crops

        digests = []
        for batch in photo_crops(self.expected, self.size):
            for pixels in batch.permute(0, 2, 3, 1).contiguous().numpy():
                digests.append(pixel_sha256(pixels))
                yield pixels
        self._fingerprint = digest_of(digests)
