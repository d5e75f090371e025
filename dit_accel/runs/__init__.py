"""The folder of a sampled image set: its files, who works on what, and how it is read back.

Pure input and output: nothing here knows torch or diffusers.
"""

from dit_accel.runs.adm import AdmImages, export_adm, read_adm
from dit_accel.runs.atomic import atomic_write, write_json_atomically
from dit_accel.runs.claims import ClaimBoard
from dit_accel.runs.errors import RunFolderError, UnreadableImage
from dit_accel.runs.folder import RunFolder
from dit_accel.runs.formats import ImageWriter, image_writer
from dit_accel.runs.manifest import (
    ImageRecord,
    Manifest,
    ManifestTail,
    ManifestWriter,
    count_images,
    read_manifest,
)
from dit_accel.runs.pixels import pixel_sha256
from dit_accel.runs.reading import missing, read_image, unreadable
from dit_accel.runs.throughput import RankSpeed, Speed, speed

__all__ = [
    "AdmImages",
    "ClaimBoard",
    "ImageRecord",
    "ImageWriter",
    "Manifest",
    "ManifestTail",
    "ManifestWriter",
    "RankSpeed",
    "RunFolder",
    "RunFolderError",
    "Speed",
    "UnreadableImage",
    "atomic_write",
    "count_images",
    "export_adm",
    "image_writer",
    "missing",
    "pixel_sha256",
    "read_adm",
    "read_image",
    "read_manifest",
    "speed",
    "unreadable",
    "write_json_atomically",
]
