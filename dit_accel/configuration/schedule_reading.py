"""Checks what a plan file holds in the place of a schedule."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, TypeAlias

from dit_accel.errors import PlanError, Problem, did_you_mean, mismatch, show

Value: TypeAlias = float | tuple[float, ...]

KEYS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "linear": ("start", "end"),
    "cosine": ("start", "end"),
    "steps": ("values", "at"),
}
FORMS = (
    "a number, a list of numbers, or a mapping with 'schedule' one of constant (value), "
    "linear or cosine (start, end), steps (values, at)"
)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def read_values(**named: Any) -> tuple[Value, ...]:
    """Check that all values are finite numbers, or lists of them of one length."""
    read: list[Value] = []
    for name, value in named.items():
        entries = value if isinstance(value, list | tuple) else [value]
        if not entries or not all(_is_number(entry) for entry in entries):
            path, expected = (
                ("", FORMS) if name == "value" else (name, "a number or a list of them")
            )
            remedy = "write a finite number without quotes, such as 2 or 0.5"
            raise PlanError(Problem(path, mismatch(value, expected, remedy)))
        read.append(tuple(entries) if isinstance(value, list | tuple) else value)
    if len({len(value) if isinstance(value, tuple) else None for value in read}) > 1:
        remedy = "give every value the same form, such as start: [8, 8], end: [16, 16]"
        raise PlanError(mismatch(read, "all numbers, or all lists of one length", remedy))
    return tuple(read)


def read_switches(at: Any, num_values: int) -> tuple[float, ...]:
    """Check the fractions at which a steps schedule goes on to its next value."""
    expected = f"{num_values - 1} fractions for {num_values} values, rising, within (0, 1)"
    if not isinstance(at, list | tuple) or not all(_is_number(fraction) for fraction in at):
        problem = mismatch(at, expected, "write a list of numbers, such as at: [0.3, 0.7]")
    elif len(at) != num_values - 1:
        problem = mismatch(at, expected, "give one fraction less than there are values")
    elif any(b <= a for a, b in pairwise([0.0, *at, 1.0])):
        problem = mismatch(at, expected, "sort them, each once, 0 and 1 left out")
    else:
        return tuple(at)
    raise PlanError(Problem("at", problem))


def check_keys(kind: str, arguments: Mapping[Any, Any]) -> None:
    """Refuse a key that `kind` does not know, and the lack of one that it needs."""
    valid = KEYS[kind]
    problems = [
        Problem(
            str(key),
            f"unknown key (value {show(item)}); {did_you_mean(key, valid)}"
            f"a {kind} schedule takes: {', '.join(valid)}",
        )
        for key, item in arguments.items()
        if key not in valid
    ]
    problems += [
        Problem(key, f"missing; a {kind} schedule takes {', '.join(valid)}: add '{key}: …'")
        for key in valid
        if key not in arguments
    ]
    if problems:
        raise PlanError(*problems)
