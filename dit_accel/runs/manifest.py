"""The manifest: one JSON line an image, appended after the image's file is in its place.

So an image with a line is there as a whole, unless its disk lost it since. A kill can cut off the
last line of a file, at worst: readers skip it, and the image is made again.
"""

from dit_accel.runs.manifest_reading import Manifest, ManifestTail, count_images, read_manifest
from dit_accel.runs.manifest_writing import ManifestWriter
from dit_accel.runs.records import ImageRecord

__all__ = [
    "ImageRecord",
    "Manifest",
    "ManifestTail",
    "ManifestWriter",
    "count_images",
    "read_manifest",
]
