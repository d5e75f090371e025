"""The plans that ship with the package, found by name.

`configs/plans/*.yaml` are ours, and examples of single methods; `configs/plans/published/*.yaml`
are named after a paper and have its setting. Only ours are benchmarked unless others are asked for.
A plan of ours with an adapter that ships (`MODEL/NAME`) belongs to that model alone.
"""

import os
from pathlib import Path

from dit_accel.configuration.strict_yaml import read_mapping
from dit_accel.errors import PlanError, did_you_mean, mismatch
from dit_accel.resources import config_folder


def preset_names(model: str | os.PathLike[str] | None = None) -> tuple[str, ...]:
    """Return the names of our own plans and examples (``configs/plans/*.yaml``), sorted.

    Args:
        model: name or folder, for those with an adapter of this model too; without it, those that
            any model can have.
    """
    # A path to a shipped model and its name are the same model.
    own = None if model is None else Path(model).resolve().name
    folder = config_folder("plans")
    return tuple(name for name in _names(folder) if _owner(folder, name) in (None, own))


def published_names() -> tuple[str, ...]:
    """Return the names of published settings (``configs/plans/published/*.yaml``), sorted."""
    return _names(_published())


def is_preset(name: str) -> bool:
    """Whether a plan of this name ships with the package."""
    return name in _ours() or name in published_names()


def preset_path(name: str) -> Path:
    """Return the YAML file of the shipped plan `name`.

    Raises:
        PlanError: if no plan has this name; lists those that ship, the nearest first.
    """
    if name in _ours():
        return config_folder("plans") / f"{name}.yaml"
    if name in published_names():
        return _published() / f"{name}.yaml"
    names = (*_ours(), *published_names())
    expected = (
        f"the path of a YAML file that exists, or a preset: {', '.join(names) or 'none ship'}"
    )
    remedy = did_you_mean(name, names) + "a path works too, such as ./my_plan.yaml"
    raise PlanError(mismatch(name, expected, remedy), source="plan")


def _owner(folder: Path, name: str) -> str | None:
    """The shipped model whose adapter a plan of ours names; `None` where it has no adapter."""
    adapter = read_mapping(folder / f"{name}.yaml").get("adapter")
    return str(adapter).partition("/")[0] if adapter else None


def _ours() -> tuple[str, ...]:
    return _names(config_folder("plans"))


def _published() -> Path:
    return config_folder("plans") / "published"


def _names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))
