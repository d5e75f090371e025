"""What can go wrong, said so that the reader can put it right.

Every message names the field path, the value found, what was expected, and the remedy.
"""

import difflib
import json
from collections.abc import Iterable
from typing import Any, NamedTuple


class DitAccelError(ValueError):
    """Base of every error that this package raises on purpose."""


class UnsupportedError(DitAccelError):
    """A model, a method or a combination that is refused because it would be miscomputed."""


class RunError(DitAccelError):
    """A run that cannot go on, for instance one whose timesteps were never announced."""


class Problem(NamedTuple):
    """One thing wrong with a document: the dotted ``path`` of a field, and what about it."""

    path: str
    text: str

    def under(self, prefix: str) -> "Problem":
        """Return the same problem as seen from the document that holds this one at `prefix`."""
        path = ".".join(part for part in (prefix, self.path) if part)
        return Problem(path.replace(".[", "["), self.text)

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


class PlanError(DitAccelError):
    """A plan (or a part of one) that is refused; lists all of its problems, one a line."""

    def __init__(self, *problems: Problem | str, source: str = "") -> None:
        # `args` holds the problems alone and `source` the instance, so that pickling to another
        # process (which calls `cls(*args)` and then restores `__dict__`) loses nothing.
        super().__init__(*problems)
        self.source = source

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Every problem, in the order of the document."""
        return tuple(p if isinstance(p, Problem) else Problem("", p) for p in self.args)

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems]
        if len(lines) == 1:
            return f"{self.source}: {lines[0]}" if self.source else lines[0]
        return f"{self.source or 'plan'}: {len(lines)} problems\n  " + "\n  ".join(lines)


def show(value: Any, limit: int = 80) -> str:
    """Write `value` the way a plan file would, cut to `limit` characters."""
    try:
        text = json.dumps(value, default=repr, ensure_ascii=False)
    except TypeError:  # a mapping with keys that JSON has no form for, such as dates
        text = repr(value)
    text = text.encode("utf-8", "backslashreplace").decode()  # halves of surrogate pairs
    return text if len(text) <= limit else text[: limit - 1] + "…"


def mismatch(value: Any, expected: str, remedy: str) -> str:
    """Word a wrong value: what was found, what was expected, and what to do about it."""
    return f"got {show(value)}, expected {expected}; {remedy}"


def nearest(word: object, choices: Iterable[str]) -> str | None:
    """Return the choice that is spelt most like `word`, or None if none comes near.

    The only one that goes on where `word` ends is nearer than any.
    """
    text, names = str(word).lower(), list(choices)
    longer = [name for name in names if len(text) > 2 and name.startswith(text)]
    if len(longer) == 1:
        return longer[0]
    matches = difflib.get_close_matches(text, names, n=1, cutoff=0.6)
    return matches[0] if matches else None


def did_you_mean(word: object, choices: Iterable[str]) -> str:
    """Return ``"did you mean 'x'? "``, or an empty text if no choice comes near `word`."""
    match = nearest(word, choices)
    return f"did you mean '{match}'? " if match else ""
