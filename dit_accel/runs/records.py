"""What the manifest tells of one image."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of the set.

    Attributes:
        index: place in the set; with the run's config it decides all of the image.
        seed: of the image's noise.
        class_label: of a class-conditional model.
        prompt: of a text-conditional model.
        file: path of the file that holds the image, relative to the run folder.
        member: entry in `file`, if that is a shard of many images.
        sha256: of the pixels; see `dit_accel.runs.pixel_sha256`.
        rank: that made the image, in the launch that made it.
        host: that made the image.
        pid: process number there.
        batch: name of the batch that the image came out of.
        batch_size: images in that batch.
        seconds: that the whole batch took, denoising and decoding.
        time: when the record was made, after the batch was done, in unix seconds.
    """

    index: int
    seed: int
    class_label: int | None
    prompt: str | None
    file: str
    member: str | None
    sha256: str
    rank: int
    host: str
    pid: int
    batch: str
    batch_size: int
    seconds: float
    time: float
