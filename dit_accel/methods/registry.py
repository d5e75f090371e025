"""Finds the config class of a method by its family and its name in a plan file."""

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import dit_accel.methods
from dit_accel.errors import PlanError, Problem, mismatch, nearest
from dit_accel.methods.config import MethodConfig

# The key of a plan file that names the method, by family; a cache has three axes of methods.
SELECTORS = {
    "site": "kind",
    "predictor": "kind",
    "policy": "kind",
    "density": "kind",
    "merge": "kind",
    "attention": "kind",
}

_methods: dict[str, dict[str, type[MethodConfig]]] = {family: {} for family in SELECTORS}

C = TypeVar("C", bound=MethodConfig)


def register(family: str, kind: str) -> Callable[[type[C]], type[C]]:
    """Make a config class known to plans: ``@register("density", kind="pooled")``.

    Args:
        family: the key of a plan (or of a cache in it) that holds the config, one of `SELECTORS`.
        kind: the name of the method there.

    Raises:
        TypeError: for an unknown family, a name that is taken, or a class without the selector.
    """
    if family not in SELECTORS:
        raise TypeError(f"unknown family {family!r}; families: {', '.join(SELECTORS)}")
    selector = SELECTORS[family]

    def add(config: type[C]) -> type[C]:
        taken = _methods[family].get(kind)
        # A module that is imported anew (after a failure, or in a notebook) brings itself again.
        same = taken and (taken.__module__, taken.__qualname__) == (
            config.__module__,
            config.__qualname__,
        )
        if taken and not same:
            raise TypeError(f"{family} {selector} {kind!r} is taken by {taken.__qualname__}")
        field = config.model_fields.get(selector)
        if field is None or field.default != kind:
            raise TypeError(
                f"{config.__name__} needs a field {selector}: Literal[{kind!r}] = {kind!r}"
            )
        config.family, config.selector = family, selector
        _methods[family][kind] = config
        return config

    return add


def unregister(family: str, kind: str) -> None:
    """Take a registered method out again."""
    del _methods[family][kind]


def kinds(family: str) -> tuple[str, ...]:
    """Return the names of the methods of `family`, sorted."""
    _import_built_in_methods()
    return tuple(sorted(_methods[family]))


def find(family: str, kind: object) -> type[MethodConfig]:
    """Return the config class of the method `kind` of `family`.

    Raises:
        PlanError: if there is none, with the nearest name and all names.
    """
    names, selector = kinds(family), SELECTORS[family]
    if isinstance(kind, str) and kind in names:
        return _methods[family][kind]
    choices = ", ".join(names) or "none in this version"
    likely = nearest(kind, names)
    if likely:
        remedy = f"did you mean {selector}: {likely}?"
    else:
        remedy = f"write for instance {selector}: {names[0]}" if names else f"remove '{family}'"
    raise PlanError(Problem(selector, mismatch(kind, f"one of: {choices}", remedy)))


@cache
def _import_built_in_methods() -> None:
    """Import every module below `dit_accel.methods`, each of which registers its configs.

    Done at the first look-up and not on import, because those modules import this one.
    """
    for module in pkgutil.walk_packages(dit_accel.methods.__path__, "dit_accel.methods."):
        importlib.import_module(module.name)
