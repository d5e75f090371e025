"""A value over a run: the one type that every method uses for what changes with the steps."""

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import AfterValidator, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from dit_accel.configuration.schedule_reading import (
    KEYS,
    Value,
    check_keys,
    read_switches,
    read_values,
)
from dit_accel.errors import PlanError, Problem, mismatch, nearest
from dit_accel.span import Span

__all__ = ["Schedule", "Span", "Value", "within"]

Kind: TypeAlias = Literal["constant", "linear", "cosine", "steps"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A number, or a list of numbers, as a function of the fraction ``u`` in [0, 1] of the run.

    Build one with `constant`, `linear`, `cosine`, `steps` or `parse`.

    Attributes:
        kind: which function of ``u``.
        values: one value (constant), start and end (linear, cosine), or one a stage (steps).
        switches: for steps, the fractions from which the second, third, … value hold.
    """

    kind: Kind
    values: tuple[Value, ...]
    switches: tuple[float, ...] = ()

    @classmethod
    def constant(cls, value: Any) -> "Schedule":
        """Hold `value` (a number or a list of numbers) over the whole run."""
        return cls("constant", read_values(value=value))

    @classmethod
    def linear(cls, start: Any, end: Any) -> "Schedule":
        """Go from `start` to `end` in a straight line."""
        return cls("linear", read_values(start=start, end=end))

    @classmethod
    def cosine(cls, start: Any, end: Any) -> "Schedule":
        """Ease from `start` to `end` along half a cosine: slow at both ends."""
        return cls("cosine", read_values(start=start, end=end))

    @classmethod
    def steps(cls, values: Any, at: Any) -> "Schedule":
        """Hold ``values[0]``, then ``values[k]`` from the fraction ``at[k - 1]`` on."""
        if not isinstance(values, list | tuple) or not values:
            remedy = "write for instance values: [4, 2], at: [0.5]"
            raise PlanError(Problem("values", mismatch(values, "a list of values", remedy)))
        read = read_values(**{f"values[{index}]": value for index, value in enumerate(values)})
        return cls("steps", read, read_switches(at, len(values)))

    @classmethod
    def parse(cls, value: Any) -> "Schedule":
        """Read a schedule as a plan file writes it: number, list, mapping (or a `Schedule`).

        Raises:
            PlanError: if `value` is none of these, or a part of it is wrong.
        """
        if isinstance(value, Schedule):
            return value
        if not isinstance(value, Mapping):
            return cls.constant(value)
        kind = value.get("schedule")
        if not isinstance(kind, str) or kind not in KEYS:
            likely = nearest(kind, KEYS) or "linear"
            keys = "".join(f", {key}: …" for key in KEYS[likely])
            remedy = f"write for instance {{schedule: {likely}{keys}}}"
            raise PlanError(
                Problem("schedule", mismatch(kind, f"one of {', '.join(KEYS)}", remedy))
            )
        arguments = {key: item for key, item in value.items() if key != "schedule"}
        check_keys(kind, arguments)
        schedule: Schedule = getattr(cls, kind)(**arguments)
        return schedule

    def dump(self) -> Any:
        """Return what `parse` reads; a constant is written as its plain value."""
        values = [list(value) if isinstance(value, tuple) else value for value in self.values]
        if self.kind == "constant":
            return values[0]
        if self.kind == "steps":
            return {"schedule": "steps", "values": values, "at": list(self.switches)}
        return {"schedule": self.kind, "start": values[0], "end": values[1]}

    def canonical(self) -> Any:
        """Return what is the same for equal schedules: 3 and 3.0 are, but dump as written."""
        values = [[*map(float, v)] if isinstance(v, tuple) else float(v) for v in self.values]
        return [self.kind, values, self.switches]

    def at(self, u: float) -> Value:
        """Return the value at the fraction `u` of the run, 0 the first step and 1 the last.

        Raises:
            ValueError: if `u` lies outside [0, 1].
        """
        if not 0.0 <= u <= 1.0:
            raise ValueError(f"u must be a fraction of the run from 0 to 1, got {u}")
        if self.kind == "constant":
            return self.values[0]
        if self.kind == "steps":
            return self.values[bisect_right(self.switches, u)]
        weight = u if self.kind == "linear" else (1.0 - math.cos(math.pi * u)) / 2.0
        start, end = self.values
        if isinstance(start, tuple) and isinstance(end, tuple):
            return tuple(_blend(a, b, weight) for a, b in zip(start, end, strict=True))
        assert not isinstance(start, tuple) and not isinstance(end, tuple)
        return _blend(start, end, weight)

    def scalar(self, u: float) -> float:
        """Return the value at `u` of a schedule of plain numbers.

        Raises:
            ValueError: if the values are lists.
        """
        value = self.at(u)
        if isinstance(value, tuple):
            raise ValueError(f"expected a schedule of plain numbers, got lists of {len(value)}")
        return value

    def pair(self, u: float) -> tuple[float, float]:
        """Return the value at `u` as (height, width); a plain number counts for both.

        Raises:
            ValueError: if the values are lists of another length than 2.
        """
        value = self.at(u)
        if not isinstance(value, tuple):
            return value, value
        height, width = value
        return height, width

    @property
    def length(self) -> int | None:
        """Length of every value, or None if they are plain numbers."""
        return len(self.values[0]) if isinstance(self.values[0], tuple) else None

    def values_range(self) -> tuple[float, float]:
        """Return (least, greatest) number over the whole run; these are always end values."""
        listed = [value if isinstance(value, tuple) else (value,) for value in self.values]
        return min(map(min, listed)), max(map(max, listed))

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: Any, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(cls.dump),
        )


def within(
    low: float, high: float = math.inf, *, lengths: tuple[int | None, ...] = (None,)
) -> AfterValidator:
    """Bound a `Schedule` field, over the whole run, as in ``Annotated[Schedule, within(0, 0.75)]``.

    Args:
        low: least value allowed.
        high: greatest value allowed.
        lengths: the lengths that values may have, None for plain numbers.
    """
    bounds = f"of at least {low}" if high == math.inf else f"from {low} to {high}"
    names = ["numbers" if n is None else f"lists of {n} numbers" for n in lengths]
    expected = f"{' or '.join(names)} {bounds} over the whole run"

    def check(schedule: Schedule) -> Schedule:
        least, greatest = schedule.values_range()
        if schedule.length not in lengths:
            remedy = f"write for instance {[low] * (lengths[0] or 0) or low}"
        elif least < low:
            remedy = f"use {low} or more"
        elif greatest > high:
            remedy = f"use {high} or less"
        else:
            return schedule
        raise PlanError(mismatch(schedule.dump(), expected, remedy))

    return AfterValidator(check)


def _blend(start: float, end: float, weight: float) -> float:
    # Clamped, so that rounding never leaves the range of the ends, which configs validate.
    value = start * (1.0 - weight) + end * weight
    return min(max(value, min(start, end)), max(start, end))
