"""A table of computed steps for each layer (SmoothCache, BlockDance, Learning-to-Cache).

SmoothCache (arXiv 2411.10510) makes it of measured errors of reuse, one schedule for all layers of
a kind of module; BlockDance (2503.15927) and L2C (2406.01733) have one for each layer, by hand or
learned. Whatever it comes from, the table is known before the run. The releases hold it to one
number of steps; here it may say which, and then other runs compute the steps nearest to its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator, model_validator

from dit_accel.errors import PlanError, Problem, mismatch, show
from dit_accel.forecast.decisions.smooth import smooth_mask
from dit_accel.forecast.decisions.static_masks import resampled_steps
from dit_accel.methods.caching.policies.listed_steps import ComputedSteps
from dit_accel.methods.caching.policies.policy import CacheAction, Policy
from dit_accel.methods.caching.sites.site import Site
from dit_accel.methods.registry import register


@register("policy", kind="block_profile")
class BlockProfile(Policy):
    """`policy: {kind: block_profile, compute: [[0, 3, 6], [0, 2, 4, 6]]}`.

    Args:
        compute: for each layer that the site remembers, in order, the indices of the steps at which
            it is computed, ascending from 0; one list alone is for all layers.
        num_steps: steps of the run that the lists were made for. A run of another length computes
            its steps nearest to them, which is lossy; without it a list that does not fit is
            refused.
    """

    kind: Literal["block_profile"] = "block_profile"
    # Not `steps`, which limits a method to a span of the run.
    compute: tuple[ComputedSteps, ...] = Field(min_length=1)
    num_steps: Annotated[int, Field(ge=1)] | None = None

    @field_validator("compute", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        if isinstance(value, tuple) and value and all(isinstance(step, int) for step in value):
            raise ValueError(
                "expected a list of steps for each layer; write one more pair of brackets,"
                f" [{show(value)}], for one list that is for all layers"
            )
        return value

    @model_validator(mode="after")
    def _inside(self) -> BlockProfile:
        if self.num_steps is not None and self._last >= self.num_steps:
            expected = f"more than {self._last}, the last step of the lists"
            raise PlanError(Problem("num_steps", mismatch(self.num_steps, expected, "raise it")))
        return self

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
        return cls(compute=tuple(steps), num_steps=max(map(len, masks), default=1))

    def action(
        self, step: int, last: int | None, fraction: float, num_steps: int | None
    ) -> CacheAction:
        """Whether any layer is computed."""
        if last is None or any(step in self._of_run(steps, num_steps) for steps in self.compute):
            return "compute"
        return "forecast"

    def _of_run(self, steps: tuple[int, ...], num_steps: int | None) -> tuple[int, ...]:
        if self.num_steps is None or num_steps is None:
            return steps
        return resampled_steps(steps, self.num_steps, num_steps)

    @property
    def _last(self) -> int:
        return max(steps[-1] for steps in self.compute)

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
        return [
            (tuple(same), self.model_copy(update={"compute": (steps,)}))
            for steps, same in groups.items()
        ]

    def works_at(self, site: Site) -> str | None:
        """Where layers are remembered one by one."""
        if site.modules or site.method == "block":
            return None
        return (
            f"block_profile has a list of steps for each layer, and site {site.method} remembers"
            " none by itself; use policy list, or site block, attention or feed_forward"
        )

    def fits_run(self, num_steps: int) -> str | None:
        """Steps beyond the run's are a mistake, unless it is said which run they are of."""
        if self.num_steps is not None or self._last < num_steps:
            return None
        return (
            f"policy.compute: got step {self._last}, expected indices below {num_steps}, because"
            f" the run has {num_steps} steps; measure a table for this number of steps, or set"
            " num_steps to that which it was made for"
        )
