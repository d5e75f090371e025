"""What a plan adds to a model that can be trained, and how to run the model at a given density."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from dit_accel.errors import UnsupportedError
from dit_accel.install import installation_of
from dit_accel.methods.coarse_grid import CoarseGrid
from dit_accel.schedule import Schedule
from dit_accel.span import WHOLE


def learned_parts(target: Any) -> nn.ModuleDict:
    """The learned parts of the plan on `target`, by name; empty where it has none.

    They belong to the plan: the transformer's `state_dict` does not hold them, and
    `dit_accel.restore` lets go of them. Parameters may be changed in place at any time.

    Args:
        target: an accelerated pipeline or transformer.
    """
    installation = installation_of(target)
    return nn.ModuleDict() if installation is None else installation.learned


@contextmanager
def fixed_density(target: Any, grid: tuple[int, int] | None) -> Iterator[None]:
    """Run every step on one grid, whatever the schedule of the plan says.

    For training and calibration, where a step is drawn and not reached. Keep the backward pass
    inside: gradient checkpointing computes the forward again in it.

    Args:
        target: an accelerated pipeline or transformer with a density method.
        grid: tokens as (height, width); `None` for dense.

    Raises:
        UnsupportedError: the plan has no density method with a grid.
    """
    installation = installation_of(target)
    plan = None if installation is None else installation.plan
    density = None if plan is None else plan.density
    if installation is None or plan is None or not isinstance(density, CoarseGrid):
        raise UnsupportedError(
            "fixed_density: no plan with density is in place; call dit_accel.accelerate(target,"
            " {'density': {'kind': 'sparse', 'grid': [8, 8]}}) first"
        )
    fixed = None
    if grid is not None:
        update = {"grid": Schedule.constant(list(grid)), "pool": None, "steps": WHOLE}
        fixed = density.model_copy(update=update)
    former = installation.fixed
    installation.fixed = plan.model_copy(update={"density": fixed})
    try:
        yield
    finally:
        installation.fixed = former
