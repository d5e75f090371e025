"""A table of computed steps for each layer (SmoothCache, BlockDance, Learning-to-Cache).

SmoothCache (arXiv 2411.10510) makes it of measured errors of reuse, one schedule for all layers of
a kind of module; BlockDance (2503.15927) and L2C (2406.01733) have one for each layer, by hand or
learned. Whatever it comes from, the table is known before the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from dit_accel.errors import PlanError, Problem
from dit_accel.forecast.decisions.smooth import smooth_mask
from dit_accel.methods.caching.policies.listed_steps import ComputedSteps, ListedSteps
from dit_accel.methods.caching.policies.policy import CacheAction, Policy
from dit_accel.methods.caching.sites.site import Site
from dit_accel.methods.registry import register


@register("policy", kind="block_profile")
class BlockProfile(Policy):
    """`policy: {kind: block_profile, compute: [[0, 3, 6], [0, 2, 4, 6]]}`.

    Args:
        compute: for each layer that the site remembers, in order, the indices of the steps at which
            it is computed, ascending from 0; one list alone is for all layers.
    """

    kind: Literal["block_profile"] = "block_profile"
    # Not `steps`, which limits a method to a span of the run.
    compute: tuple[ComputedSteps, ...] = Field(min_length=1)

    @classmethod
    def from_errors(cls, errors: Sequence[npt.NDArray[np.float64]], limit: float) -> BlockProfile:
        """SmoothCache's greedy schedule, from errors of reuse measured on a few samples.

        Args:
            errors: `[T, lags]` for each layer, or one of all: entry `[i, j - 1]` is the mean of
                `|out_i - out_{i-j}|_1 / |out_i|_1` (see `dit_accel.forecast.decisions.smooth`).
            limit: largest error that is accepted; the authors use 0.08 to 0.35 on DiT.

        Raises:
            ValueError: `errors` holds no tables.
        """
        masks = [smooth_mask(table, limit) for table in errors]
        steps = [tuple(i for i, computed in enumerate(mask) if computed) for mask in masks]
        return cls(compute=tuple(steps))

    def action(
        self, step: int, last: int | None, fraction: float, num_steps: int | None
    ) -> CacheAction:
        """Whether any layer is computed."""
        if last is None or any(step in steps for steps in self.compute):
            return "compute"
        return "forecast"

    def by_layer(self, layers: Sequence[int]) -> list[tuple[tuple[int, ...], Policy]]:
        """Layers with equal lists act alike."""
        table = self.compute * len(layers) if len(self.compute) == 1 else self.compute
        if len(table) != len(layers):
            raise PlanError(
                Problem(
                    "cache.policy.compute",
                    f"got {len(table)} lists of steps, expected {len(layers)}, one for each layer"
                    " of the site, or one for all; write a list for each of this model's layers",
                )
            )
        groups: dict[tuple[int, ...], list[int]] = {}
        for layer, steps in zip(layers, table, strict=True):
            groups.setdefault(steps, []).append(layer)
        return [(tuple(same), ListedSteps(compute=steps)) for steps, same in groups.items()]

    def works_at(self, site: Site) -> str | None:
        """Where layers are remembered one by one."""
        if site.modules or site.method == "block":
            return None
        return (
            f"block_profile has a list of steps for each layer, and site {site.method} remembers"
            " none by itself; use policy list, or site block, attention or feed_forward"
        )

    def fits_run(self, num_steps: int) -> str | None:
        """Steps beyond the run's are a mistake."""
        last = max(steps[-1] for steps in self.compute)
        if last < num_steps:
            return None
        return (
            f"policy.compute: got step {last}, expected indices below {num_steps}, because the run"
            f" has {num_steps} steps; measure a table for this number of steps"
        )
