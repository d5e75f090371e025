"""``--set a.b=c``: change one value of a document on the command line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from dit_accel.configuration.strict_model import StrictModel
from dit_accel.configuration.strict_yaml import parse_yaml, read_mapping
from dit_accel.errors import PlanError, Problem, mismatch

Config = TypeVar("Config", bound=StrictModel)


def read_config(
    model: type[Config],
    path: str | Path,
    assignments: Sequence[str],
    replaced: Mapping[str, Any] | None = None,
) -> Config:
    """Build a config from the YAML file at `path`, with ``--set`` assignments applied.

    Args:
        model: class of the config.
        path: of the file.
        assignments: as `override` takes them, in their order.
        replaced: values of whole keys, which go before all others.

    Raises:
        PlanError: with the field's path, the value, what was expected and the remedy.
    """
    document = {**read_overridden(path, assignments), **(replaced or {})}
    try:
        return model(**document)
    except PlanError as error:
        raise PlanError(*error.problems, source=str(path)) from None


def read_overridden(path: str | Path, assignments: Sequence[str]) -> dict[str, Any]:
    """Return the mapping of a YAML file with ``--set`` assignments applied in their order.

    Raises:
        PlanError: as `read_mapping` and `override`.
    """
    document = read_mapping(path)
    for assignment in assignments:
        document = override(document, assignment)
    return document


def override(document: Mapping[str, Any], assignment: str) -> dict[str, Any]:
    """Return `document` with the value at a dotted path replaced; the original is left alone.

    Args:
        document: nested mappings, as read from YAML.
        assignment: ``path.to.key=value``; the value is read as YAML, mappings on the way that are
            absent (or null) are made. Keys are checked where the document is read, not here.

    Raises:
        PlanError: if `assignment` has no such form, or its path leads through a plain value.
    """
    path, equals, text = assignment.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        remedy = "write for instance merge.ratio=0.3"
        raise PlanError(mismatch(assignment, "path.to.key=value", remedy), source="--set")
    return _replaced(document, keys, parse_yaml(text, f"--set {path}"), "")


def _replaced(document: Any, keys: list[str], value: Any, path: str) -> dict[str, Any]:
    if document is None:
        document = {}
    if not isinstance(document, Mapping):
        remedy = f"set all of it instead, as in {path}={{{keys[0]}: …}}"
        problem = Problem(path, mismatch(document, f"a mapping to set '{keys[0]}' in", remedy))
        raise PlanError(problem, source="--set")
    key, *rest = keys
    below = f"{path}.{key}" if path else key
    return {**document, key: _replaced(document.get(key), rest, value, below) if rest else value}
