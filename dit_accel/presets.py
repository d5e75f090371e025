"""The plans that ship with the package, found by name."""

from pathlib import Path

from dit_accel.errors import PlanError, did_you_mean, mismatch
from dit_accel.resources import config_folder


def preset_names() -> tuple[str, ...]:
    """Return the names of the shipped plans (``configs/plans/*.yaml``), sorted."""
    return tuple(sorted(path.stem for path in config_folder("plans").glob("*.yaml")))


def preset_path(name: str) -> Path:
    """Return the YAML file of the shipped plan `name`.

    Raises:
        PlanError: if no plan has this name; lists those that ship, the nearest first.
    """
    names = preset_names()
    if name in names:
        return config_folder("plans") / f"{name}.yaml"
    expected = (
        f"the path of a YAML file that exists, or a preset: {', '.join(names) or 'none ship'}"
    )
    remedy = did_you_mean(name, names) + "a path works too, such as ./my_plan.yaml"
    raise PlanError(mismatch(name, expected, remedy), source="plan")
