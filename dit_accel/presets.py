"""The plans that ship with the package, found by name.

`configs/plans/*.yaml` are ours, and examples of single methods; `configs/plans/published/*.yaml`
are named after a paper and have its setting. Only ours are benchmarked unless others are asked for.
"""

from pathlib import Path

from dit_accel.errors import PlanError, did_you_mean, mismatch
from dit_accel.resources import config_folder


def preset_names() -> tuple[str, ...]:
    """Return the names of our own plans and examples (``configs/plans/*.yaml``), sorted."""
    return _names(config_folder("plans"))


def published_names() -> tuple[str, ...]:
    """Return the names of published settings (``configs/plans/published/*.yaml``), sorted."""
    return _names(_published())


def is_preset(name: str) -> bool:
    """Whether a plan of this name ships with the package."""
    return name in (*preset_names(), *published_names())


def preset_path(name: str) -> Path:
    """Return the YAML file of the shipped plan `name`.

    Raises:
        PlanError: if no plan has this name; lists those that ship, the nearest first.
    """
    if name in preset_names():
        return config_folder("plans") / f"{name}.yaml"
    if name in published_names():
        return _published() / f"{name}.yaml"
    names = (*preset_names(), *published_names())
    expected = (
        f"the path of a YAML file that exists, or a preset: {', '.join(names) or 'none ship'}"
    )
    remedy = did_you_mean(name, names) + "a path works too, such as ./my_plan.yaml"
    raise PlanError(mismatch(name, expected, remedy), source="plan")


def _published() -> Path:
    return config_folder("plans") / "published"


def _names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))
