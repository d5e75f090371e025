"""COCO captions: which ones are taken is written down, so that "COCO-30k" means one set.

Microsoft COCO (Lin et al. 2014, arXiv:1405.0312), the caption files of Chen et al. 2015
(arXiv:1504.00325): ``captions_val2014.json`` has 40,504 images and 202,654 captions.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dit_accel.errors import DitAccelError, mismatch
from dit_accel.sampling.conditions import Conditions, list_sha256
from dit_accel.sampling.conditions.text_files import (
    HALF_A_PAIR,
    is_unicode,
    line_error,
    lines_of,
    read_text,
)


def coco_conditions(
    captions: str, ids: str | None, ids_sha256: str | None, num_samples: int | None
) -> Conditions:
    """Choose captions by a list of annotation ids, or by our rule.

    The rule: of every image the caption with the lowest annotation id; images in the order of the
    SHA-256 of their id written as text; the first ``num_samples``.

    Args:
        captions: path of a COCO caption file.
        ids: path of a text file with an annotation id a line (``.gz`` too); ``None`` for the rule.
        ids_sha256: ``ids_digest`` of the list in ``ids``, or of the ids that the rule chooses;
            ``None`` checks nothing.
        num_samples: captions; all of the list, or one for every image, by default.

    Returns:
        The captions as the file has them but for white space at both ends.

    Raises:
        DitAccelError: an unreadable file or caption, an id that it has not, another hash, or too
            few captions.
    """
    texts, first_of_image = _read_captions(Path(captions))
    listed = read_ids(Path(ids)) if ids else _by_rule(first_of_image)
    if num_samples is not None and num_samples > len(listed):
        expected = f"at most {len(listed)} (captions in {ids or captions})"
        remedy = "lower it; captions are not used twice"
        raise DitAccelError("num_samples: " + mismatch(num_samples, expected, remedy))
    taken = listed[:num_samples]
    _check_digest(ids_digest(listed if ids else taken), ids_sha256)
    missing = [number for number in listed if number not in texts]
    if missing:
        expected = f"annotation ids of {captions}"
        remedy = f"{len(missing)} of the ids are not in it; give the caption file they belong to"
        raise DitAccelError("data.ids: " + mismatch(missing[:3], expected, remedy))
    for number in listed:
        if not is_unicode(texts[number]):
            message = f"data.coco: caption {number} of {captions}: {HALF_A_PAIR}; correct it"
            raise DitAccelError(message)
    identity = {
        "kind": "coco",
        "rule": "listed" if ids else "first caption, images by SHA-256 of their id",
        "ids_sha256": ids_digest(listed),
        "sha256": list_sha256([texts[number] for number in listed]),
    }
    return Conditions([texts[number] for number in taken], identity)


def _check_digest(digest: str, expected: str | None) -> None:
    if expected is not None and digest != expected.lower():
        remedy = "these are not the captions meant: get the right files, or remove 'ids_sha256'"
        raise DitAccelError("data.ids_sha256: " + mismatch(digest, expected, remedy))


def ids_digest(ids: Sequence[int]) -> str:
    """SHA-256 of the ids, one a line: what ``sha256sum`` prints for such a file."""
    return hashlib.sha256("".join(f"{number}\n" for number in ids).encode()).hexdigest()


def read_ids(path: Path) -> list[int]:
    """Annotation ids, one a line.

    Raises:
        DitAccelError: an unreadable file, a line that is no id, an id twice, or no id at all.
    """
    text = _gunzip(path) if path.suffix == ".gz" else read_text(path, "data.ids")
    ids: dict[int, int] = {}
    for line_number, line in enumerate(lines_of(text), start=1):
        if not (line.isascii() and line.strip().isdigit()):
            message = mismatch(line, "an annotation id", "one number a line")
            raise line_error("data.ids", path, line_number, message)
        number = int(line)
        if number in ids:
            message = f"id {number} stands in line {ids[number]} already; leave one out"
            raise line_error("data.ids", path, line_number, message)
        ids[number] = line_number
    if not ids:
        raise DitAccelError(f"data.ids: {path} is empty; give at least one annotation id")
    return list(ids)


def _gunzip(path: Path) -> str:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return file.read()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DitAccelError(f"data.ids: cannot read {path} ({error}); correct the path") from None


def _read_captions(path: Path) -> tuple[dict[int, str], dict[int, int]]:
    """Annotation id to caption, and image id to the lowest of its annotation ids."""
    text = read_text(path, "data.coco")
    try:
        document: Mapping[str, Any] = json.loads(text)
        texts: dict[int, str] = {}
        first: dict[int, int] = {}
        for annotation in document["annotations"]:
            number, image = int(annotation["id"]), int(annotation["image_id"])
            texts[number] = str(annotation["caption"]).strip()
            first[image] = min(number, first.get(image, number))
    except (ValueError, KeyError, TypeError) as error:
        expected = '{"annotations": [{"id", "image_id", "caption"}, …]}'
        remedy = "give a COCO caption file such as captions_val2014.json"
        raise DitAccelError(
            f"data.coco: {path} is none ({type(error).__name__}: {error}); expected {expected}; "
            f"{remedy}"
        ) from None
    if not texts:
        raise DitAccelError(f"data.coco: {path} holds no caption; give a COCO caption file")
    return texts, first


def _by_rule(first_of_image: Mapping[int, int]) -> list[int]:
    def order(image: int) -> bytes:
        return hashlib.sha256(str(image).encode()).digest()

    return [first_of_image[image] for image in sorted(first_of_image, key=order)]
