"""Safe YAML without its two best-known traps: silent duplicate keys, and ``1e-3`` as text."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from dit_accel.errors import PlanError, mismatch, show


class _StrictLoader(yaml.SafeLoader):
    """`yaml.SafeLoader` that refuses duplicate keys and reads numbers as YAML 1.2 does."""


def _construct_mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            break  # refused below, with its place
        if key in seen:
            problem = f"duplicate key {show(key)}; keep one of them"
            raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
# YAML 1.1 wants a dot and a signed exponent, and reads 1e-3 as text.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def parse_yaml(text: str, source: str = "YAML text") -> Any:
    """Return what `text` holds.

    Raises:
        PlanError: if it is no YAML, or a mapping has a key twice; says where.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise PlanError(f"{place}{error.problem}", source=source) from None
    except yaml.YAMLError as error:
        raise PlanError(f"this is not YAML: {error}", source=source) from None


def parse_mapping(text: str, source: str = "YAML text") -> dict[str, Any]:
    """Return the mapping that `text` holds; an empty text is an empty mapping.

    Raises:
        PlanError: as `parse_yaml`, and if it holds anything but a mapping.
    """
    document = parse_yaml(text, source)
    if document is None:
        return {}
    if not isinstance(document, dict):
        remedy = "write 'key: value' lines"
        raise PlanError(mismatch(document, "a mapping of keys to values", remedy), source=source)
    return {str(key): value for key, value in document.items()}


def read_mapping(path: str | Path) -> dict[str, Any]:
    """Return the mapping that the YAML file at `path` holds.

    Raises:
        PlanError: as `parse_mapping`, and if the file cannot be read as UTF-8 text.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "this is not UTF-8 text"
        remedy = "give the path of a readable YAML file"
        raise PlanError(f"cannot read the file ({reason}); {remedy}", source=str(path)) from None
    return parse_mapping(text, str(path))
