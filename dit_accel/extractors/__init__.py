"""Pictures to features: named, versioned and hashed networks, loaded when asked for."""

from dit_accel.extractors.extractor import Extractor, extract, extractor_record
from dit_accel.extractors.registry import EXTRACTORS, check_extractor_name, load_extractor

__all__ = [
    "EXTRACTORS",
    "Extractor",
    "check_extractor_name",
    "extract",
    "extractor_record",
    "load_extractor",
]
