"""The base of every typed document: frozen, strict, and precise about what is wrong."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from dit_accel.errors import PlanError, Problem, did_you_mean, mismatch, show

_TYPES = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
}
_INTEGERS = ("int_type", "int_from_float")
_BOUNDS = {
    "ge": ("greater_than_equal", "at least", "{} or more"),
    "gt": ("greater_than", "more than", "more than {}"),
    "le": ("less_than_equal", "at most", "{} or less"),
    "lt": ("less_than", "less than", "less than {}"),
}


class StrictModel(BaseModel):
    """A frozen pydantic model without coercions, whose every error is a `PlanError`.

    Lists are read as tuples, so that the fields of a frozen document can be hashed: declare
    ``tuple[...]`` where a file holds a list. A validator of a subclass raises
    ``ValueError("expected …; remedy")``: the path and the value are put before it.

    Raises:
        PlanError: with one problem a line, when the keys given do not fit the fields.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def __init__(self, **data: Any) -> None:
        nameless = list(_keys_that_are_no_text(data))
        if nameless:
            raise PlanError(*nameless, source=type(self).__name__)
        try:
            super().__init__(**{key: _freeze(value) for key, value in data.items()})
        except ValidationError as error:
            problems = [p for details in _own_errors(error) for p in self._problems(details)]
            raise PlanError(*problems, source=type(self).__name__) from None

    @classmethod
    def _problems(cls, details: ErrorDetails) -> list[Problem]:
        """Put one of pydantic's errors into our words."""
        parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in details["loc"]]
        path = "".join(parts).removeprefix(".")
        cause = details.get("ctx", {}).get("error")
        if isinstance(cause, PlanError):
            # Raised by a nested document or a field type, whose paths are relative to this one.
            return [problem.under(path) for problem in cause.problems]
        return [Problem(path, cls._explain(details, cause))]

    @classmethod
    def _explain(cls, details: ErrorDetails, cause: Exception | None) -> str:
        kind, value = details["type"], details["input"]
        name = str(details["loc"][0]) if details["loc"] else ""
        if cause is not None:
            return str(cause) if isinstance(value, dict) else f"got {show(value)}, {cause}"
        if kind == "extra_forbidden":
            hint = (
                did_you_mean(name, cls.model_fields) + "valid keys: " + ", ".join(cls.model_fields)
            )
            return f"unknown key (value {show(value)}); {hint}"
        if kind == "missing":
            return f"missing; add '{name}: …', this document cannot do without it"
        if kind in ("literal_error", "enum"):
            expected = details["ctx"]["expected"]
            choices = expected.replace("'", "").replace(" or ", ", ").split(", ")
            return mismatch(value, expected, did_you_mean(value, choices) + "use one of these")
        if kind == "too_short":
            expected = f"a list of at least {details['ctx']['min_length']}"
            return mismatch(value, expected, "add what is missing, or remove the key")
        if kind in _TYPES:
            return mismatch(value, _TYPES[kind], cls._type_remedy(name, kind, value))
        return cls._explain_bound(name, details) or (
            f"got {show(value)}: {details['msg']}; correct this value or remove the key"
        )

    @classmethod
    def _explain_bound(cls, name: str, details: ErrorDetails) -> str | None:
        """Word a number beyond its bounds, naming all bounds of the field."""
        for key, (kind, _, remedy) in _BOUNDS.items():
            if details["type"] == kind:
                metadata = cls.model_fields[name].metadata if name in cls.model_fields else []
                limit = details["ctx"][key]
                bounds = [
                    f"{words} {getattr(item, other)}"
                    for other, (_, words, _) in _BOUNDS.items()
                    for item in metadata
                    if hasattr(item, other)
                ] or [f"{_BOUNDS[key][1]} {limit}"]
                expected = "a value of " + " and ".join(bounds)
                return mismatch(details["input"], expected, f"use {remedy.format(limit)}")
        return None

    @classmethod
    def _type_remedy(cls, name: str, kind: str, value: Any) -> str:
        text = value.strip() if isinstance(value, str) else ""
        if (kind in _INTEGERS and _is_number(text, int)) or (
            kind == "float_type" and _is_number(text, float)
        ):
            return f"write it without quotes: {name}: {text}"
        field = cls.model_fields.get(name)
        if field is None or field.is_required() or field.get_default() is None:
            return "correct this value or remove the key"
        default = json.dumps(field.get_default(call_default_factory=False), default=str)
        return f"the default is {name}: {default}"


def built(model: type[StrictModel]) -> BeforeValidator:
    """Read a field's mapping as this document; what is none goes on as it came.

    pydantic would fill a nested document without its own `__init__`, hence without its errors.
    """
    return BeforeValidator(lambda value: model(**value) if isinstance(value, Mapping) else value)


def _own_errors(error: ValidationError) -> list[ErrorDetails]:
    """Leave out what only follows from another error: a list "too short" for want of its items."""
    errors = error.errors()
    places = [details["loc"] for details in errors]

    def follows(loc: tuple[int | str, ...]) -> bool:
        return any(len(place) > len(loc) and place[: len(loc)] == loc for place in places)

    return [item for item in errors if item["type"] != "too_short" or not follows(item["loc"])]


def _is_number(text: str, number: type[int] | type[float]) -> bool:
    try:
        number(text)
    except ValueError:
        return False
    return True


def _keys_that_are_no_text(value: Any, path: str = "") -> Iterator[Problem]:
    """Keys of nested mappings that can't name a field."""
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _keys_that_are_no_text(item, f"{path}[{index}]")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                yield Problem(path, f"got the key {show(key)}, expected text; {_remedy_of(key)}")
            else:
                yield from _keys_that_are_no_text(item, f"{path}.{key}".removeprefix("."))


def _remedy_of(key: Any) -> str:
    if not isinstance(key, bool):
        return "put it in quotes"
    words = "on, yes and true" if key else "off, no and false"
    return f"put it in quotes, because YAML reads the words {words} as {show(key)}"


def _freeze(value: Any) -> Any:
    return tuple(_freeze(item) for item in value) if isinstance(value, list) else value
