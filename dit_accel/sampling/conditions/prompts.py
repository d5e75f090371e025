"""Prompts of a set: listed in the config, read from a txt, jsonl or csv file, or shipped."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dit_accel.errors import DitAccelError, did_you_mean, mismatch
from dit_accel.resources import config_folder
from dit_accel.sampling.conditions import Conditions, Cycled, list_sha256
from dit_accel.sampling.conditions.text_files import (
    HALF_A_PAIR,
    is_unicode,
    line_error,
    lines_of,
    read_text,
)

_FIELD, _KEY = "data.prompts", "prompt"


def prompt_conditions(prompts: str | Sequence[str], num_samples: int | None) -> Conditions:
    """The prompt of every image.

    Args:
        prompts: a list, the name of a list that ships with the package (``photos``), or the path
            of a file: ``.txt`` (every line is a prompt, an empty line the empty prompt), ``.jsonl``
            (an object with the key ``prompt`` a line) or ``.csv`` (with a column ``prompt``);
            other keys and columns are left alone.
        num_samples: images; as many as prompts by default, and beyond that the list cycles.

    Raises:
        DitAccelError: an unreadable file or line, or an empty list.
    """
    found = read_prompts(Path(prompts)) if isinstance(prompts, str) else list(prompts)
    if not found:
        raise DitAccelError(f"{_FIELD}: {prompts or 'the list'} is empty; give at least one prompt")
    identity = {"kind": "prompts", "count": len(found), "sha256": list_sha256(found)}
    return Conditions(Cycled(found, num_samples or len(found)), identity)


def shipped_prompts() -> dict[str, Path]:
    """The lists that ship with the package (``configs/prompts/*.txt``), by their names."""
    return {path.stem: path for path in sorted(config_folder("prompts").glob("*.txt"))}


def read_prompts(path: Path) -> list[str]:
    """All prompts of a file, or of the shipped list of that name, in its order.

    Raises:
        DitAccelError: as ``prompt_conditions``, with the number of the line.
    """
    shipped = shipped_prompts()
    path = shipped.get(str(path), path)
    if path.suffix not in _READERS:
        endings, names = ", ".join(_READERS), ", ".join(shipped)
        expected = f"a file ending in {endings}, the shipped list {names}, or a list of prompts"
        remedy = did_you_mean(str(path), shipped) + 'a single prompt is a list too: ["…"]'
        raise DitAccelError(f"{_FIELD}: " + mismatch(str(path), expected, remedy))
    prompts = []
    for number, prompt in _READERS[path.suffix](path, read_text(path, _FIELD)):
        if not is_unicode(prompt):
            raise line_error(_FIELD, path, number, f"{HALF_A_PAIR}; correct it")
        prompts.append(prompt)
    return prompts


def _txt(path: Path, text: str) -> Iterator[tuple[int, str]]:
    yield from enumerate(lines_of(text), start=1)


def _jsonl(path: Path, text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines_of(text), start=1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
        except json.JSONDecodeError as error:
            message = f"this is not JSON ({error.msg} at column {error.colno}); correct the line"
            raise line_error(_FIELD, path, number, message) from None
        prompt = document.get(_KEY) if isinstance(document, dict) else None
        if not isinstance(prompt, str):
            message = mismatch(
                document, f"an object with a text under '{_KEY}'", "correct the line"
            )
            raise line_error(_FIELD, path, number, message)
        yield number, prompt


def _csv(path: Path, text: str) -> Iterator[tuple[int, str]]:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        if _KEY not in (rows.fieldnames or ()):
            message = mismatch(rows.fieldnames, f"a column '{_KEY}'", "name it in the first line")
            raise line_error(_FIELD, path, 1, message)
        for row in rows:
            if row[_KEY] is None:
                message = f"this row ends before the column '{_KEY}'; complete or remove it"
                raise line_error(_FIELD, path, rows.line_num, message)
            yield rows.line_num, row[_KEY]
    except csv.Error as error:
        message = f"this is not CSV ({error}); quote texts that hold commas, quotes or line ends"
        raise line_error(_FIELD, path, rows.reader.line_num, message) from None


_READERS: dict[str, Callable[[Path, str], Iterator[tuple[int, str]]]] = {
    ".txt": _txt,
    ".jsonl": _jsonl,
    ".csv": _csv,
}
