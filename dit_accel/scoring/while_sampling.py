"""Features computed while a set is sampled, so that its scores need no second look."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dit_accel.extractors.extractor import Extractor
from dit_accel.runs import RunFolder, pixel_sha256
from dit_accel.scoring.feature_cache import block_path, rows_of_run, write_rows
from dit_accel.scoring.features import extract_rows
from dit_accel.scoring.image_sets import RunImages


class FeatureRecorder:
    """An observer of `sampling.ranks.worker.sample_set`: keeps the features of every block.

    Ranks need not know of each other: each leaves files of its own blocks.

    Args:
        folder: of the run.
        extractor: a network, on this rank's device.
    """

    def __init__(self, folder: RunFolder, extractor: Extractor) -> None:
        self.folder, self.extractor = folder, extractor

    def __call__(self, block: range, images: Mapping[int, np.ndarray]) -> None:
        """Look at the images of one block (uint8 ``[H, W, 3]`` by index) and keep their rows."""
        pictures = [images[index] for index in sorted(images)]
        digests = [pixel_sha256(picture) for picture in pictures]
        [rows] = extract_rows(pictures, [self.extractor])
        path = block_path(self.folder, self.extractor, block.start // self.folder.block_size)
        write_rows(path, self.extractor, digests, rows)


def gather_features(folder: RunFolder, extractor: Extractor) -> None:
    """Merge the rows of all blocks, and write ``statistics/<extractor>.npz``.

    What no rank has looked at (it was sampled before statistics were asked for) is looked at now.
    """
    rows_of_run(RunImages(folder), extractor)
