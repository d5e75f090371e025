"""Samples become files, and then, once these are in their place, lines of the manifest."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from dit_accel.runs.folder import RunFolder
from dit_accel.runs.formats import Places, image_writer
from dit_accel.runs.manifest import ImageRecord, ManifestWriter
from dit_accel.runs.pixels import pixel_sha256
from dit_accel.sampling.generate import Sample

# Compression lets go of the interpreter's lock; more threads than this outrun any sampler.
_ENCODERS = min(4, os.cpu_count() or 1)


class ImageRecorder:
    """Writes the samples of one process, and tells of each in the manifest.

    Attributes:
        whole_blocks: whether the format wants a block's samples at once.
        recorded: images that this recorder has written.
    """

    def __init__(self, folder: RunFolder, manifest: ManifestWriter, rank: int) -> None:
        self._writer, self._manifest, self._rank = image_writer(folder), manifest, rank
        self._host, self._pid = socket.gethostname(), os.getpid()
        self.whole_blocks = self._writer.whole_blocks
        self.recorded = 0

    def record(self, block: range, samples: Sequence[Sample]) -> None:
        """Write samples that belong to ``block``.

        Raises:
            RunFolderError: a file cannot be written; those that can be are recorded nevertheless.
        """
        parts = [samples] if self.whole_blocks else [[sample] for sample in samples]
        with ThreadPoolExecutor(_ENCODERS) as pool:
            tasks = [pool.submit(self._write, block, part) for part in parts]
        places: Places = {}
        for task in tasks:
            if task.exception() is None:
                places |= task.result()
        self._manifest.append(
            self._line(sample, *places[sample.spec.index])
            for sample in samples
            if sample.spec.index in places
        )
        self.recorded += len(places)
        for task in tasks:
            task.result()  # the first error, once everything else is recorded

    def _write(self, block: range, samples: Sequence[Sample]) -> Places:
        images = {sample.spec.index: sample.image for sample in samples}
        return self._writer.write(block, images, {s.spec.index: _told(s) for s in samples})

    def _line(self, sample: Sample, file: str, member: str | None) -> ImageRecord:
        spec, batch = sample.spec, sample.batch
        return ImageRecord(
            index=spec.index,
            seed=spec.seed,
            class_label=spec.class_label,
            prompt=spec.prompt,
            file=file,
            member=member,
            sha256=pixel_sha256(sample.image),
            rank=self._rank,
            host=self._host,
            pid=self._pid,
            batch=batch.id,
            batch_size=batch.size,
            seconds=batch.seconds,
            # Now, not when the batch was done: of two records the newest counts, which must be
            # that of the process whose file came last, also if that one was suspended in between.
            time=time.time(),
        )


def _told(sample: Sample) -> dict[str, int | str]:
    """Seed and condition, for formats that keep them beside the image."""
    spec = sample.spec
    told = {"seed": spec.seed, "class_label": spec.class_label, "prompt": spec.prompt}
    return {key: value for key, value in told.items() if value is not None}
