"""A half-open range of layers or of steps, in indices or in fractions of the whole."""

import math
from dataclasses import dataclass, field
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from dit_accel.errors import PlanError, Problem, mismatch

_FORM = "[start, stop): two indices such as [2, 6], or two fractions such as [0.2, 0.8]"


@dataclass(frozen=True, slots=True)
class Span:
    """The half-open range ``[start, stop)``: two ints are indices, two floats are fractions.

    ``[0, 1]`` is the first layer alone and ``[0.0, 1.0]`` is all of them.

    Raises:
        PlanError: on anything but ``0 <= start < stop`` in one unit (fractions: ``stop <= 1``).
    """

    start: int | float
    stop: int | float
    # Takes part in comparison: Python holds (0, 1) == (0.0, 1.0), which mean different layers.
    fractional: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fractional", isinstance(self.start, float))
        complaint = self._complaint()
        if complaint:
            raise PlanError(mismatch(self.dump(), *complaint))

    def _complaint(self) -> tuple[str, str] | None:
        """Return (expected, remedy) if the two ends are no span."""
        ends = (self.start, self.stop)
        kinds = {type(end) for end in ends}
        if not kinds <= {int, float} or not all(math.isfinite(end) for end in ends):
            return _FORM, "write two finite numbers"
        if kinds == {int, float}:
            return (
                "both ends as indices or both as fractions",
                f"write [{float(self.start)}, {float(self.stop)}] if these are fractions of the "
                "whole, or two integers if they are indices",
            )
        if kinds == {float} and not all(0.0 <= end <= 1.0 for end in ends):
            return "fractions from 0.0 to 1.0", "write integers, such as [2, 6], for indices"
        if self.start < 0:
            return "indices from 0 upwards", "count from the start, or use fractions"
        if not self.start < self.stop:
            return "start < stop (the range is half-open)", "swap the ends or remove the key"
        return None

    @classmethod
    def parse(cls, value: Any) -> "Span":
        """Build a span from a `Span` or a list of two numbers.

        Raises:
            PlanError: if `value` is neither.
        """
        if isinstance(value, Span):
            return value
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise PlanError(mismatch(value, _FORM, "write a list of two numbers"))
        return cls(*value)

    def dump(self) -> list[int | float]:
        """Return the list that `parse` reads."""
        return [self.start, self.stop]

    def canonical(self) -> list[int | float]:
        """Return what is the same for equal spans and differs for unequal ones."""
        return self.dump()

    def resolve(self, count: int, what: str = "layers") -> range:
        """Return the indices covered out of `count`; never empty.

        Args:
            count: how many layers (or steps) there are.
            what: the field path for the message; its last part names the things counted.

        Raises:
            PlanError: if an index lies outside ``0..count``.
        """
        if self.fractional:
            # A narrow fraction still means "some of it": it rounds to one index, never to none.
            start = min(round(self.start * count), count - 1)
            return range(start, max(start + 1, round(self.stop * count)))
        if self.stop > count:
            raise PlanError(Problem(what, self._outside(count, what.rsplit(".", 1)[-1])))
        return range(int(self.start), int(self.stop))

    def _outside(self, count: int, noun: str) -> str:
        return mismatch(
            self.dump(),
            f"0 <= start < stop <= {count}, because there are {count} {noun} (0..{count - 1})",
            f"write for instance [{count // 2}, {count}], or fractions such as [0.5, 1.0], "
            f"which fit any number of {noun}",
        )

    def overlaps(self, other: "Span") -> bool | None:
        """Tell whether both cover an index in common; None if that depends on the count."""
        if WHOLE in (self, other):
            return True
        if self.fractional != other.fractional:
            return None
        return self.start < other.stop and other.start < self.stop

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: Any, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(cls.dump),
        )


WHOLE = Span(0.0, 1.0)
