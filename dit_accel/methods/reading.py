"""Reads the config of a method from a plan: a name, or a mapping whose key `kind` says which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dit_accel.errors import PlanError, Problem, mismatch
from dit_accel.methods.config import MethodConfig
from dit_accel.methods.registry import SELECTORS, find, kinds


def read_method(value: Any, family: str) -> Any:
    """Build the config that a plan describes.

    Args:
        value: a name, a mapping, a config of this family, or `None`, which is returned as it is.
        family: one of `SELECTORS`.

    Raises:
        PlanError: for anything else, or where the config is refused.
    """
    selector = SELECTORS[family]
    if value is None:
        return None
    if isinstance(value, MethodConfig):
        if value.family != family:
            remedy = f"pass it as {value.family}=…"
            raise PlanError(mismatch(repr(value), f"a config of the family '{family}'", remedy))
        return value
    if isinstance(value, str):
        try:
            return find(family, value)()
        except PlanError as error:
            raise PlanError(*(_at_the_name(problem) for problem in error.problems)) from None
    choices = ", ".join(kinds(family))
    if not isinstance(value, Mapping):
        remedy = f"write for instance {family}: {{{selector}: {next(iter(kinds(family)), '…')}}}"
        raise PlanError(mismatch(value, f"a mapping with '{selector}' one of: {choices}", remedy))
    if selector not in value:
        remedy = f"add '{selector}: …', one of: {choices}"
        raise PlanError(mismatch(value, f"the key '{selector}', which names the method", remedy))
    return find(family, value[selector])(**{str(key): item for key, item in value.items()})


def _at_the_name(problem: Problem) -> Problem:
    """A wrong name lies at the key itself where no mapping is written."""
    return Problem("", problem.text) if problem.path == "kind" else problem
