"""Text files of conditions, read so that every complaint names its line."""

from __future__ import annotations

from pathlib import Path

from dit_accel.errors import DitAccelError

HALF_A_PAIR = "half of a surrogate pair stands alone; no tokenizer can read it"


def is_unicode(text: str) -> bool:
    """Whether a text has a form in UTF-8: JSON, YAML and shells let halves through."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_text(path: Path, field: str) -> str:
    """The text of a UTF-8 file, without a byte-order mark.

    Args:
        path: the file.
        field: the config's key that names it, for messages.

    Raises:
        DitAccelError: there is no such file, or it is not UTF-8 text (says in which line).
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        remedy = "correct the path (it is relative to the working directory)"
        raise DitAccelError(f"{field}: cannot read {path} ({error.strerror}); {remedy}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        remedy = "save the file as UTF-8"
        raise line_error(field, path, line, f"this is not UTF-8 text; {remedy}") from None


def lines_of(text: str) -> list[str]:
    r"""Split at ``\n`` and ``\r\n`` alone; a final line end begins no line of its own.

    ``str.splitlines`` would also split at characters that a prompt may hold, such as U+2028.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def line_error(field: str, path: Path, number: int, message: str) -> DitAccelError:
    """What is wrong in line ``number`` (from 1) of a file."""
    return DitAccelError(f"{field}: {path}, line {number}: {message}")
