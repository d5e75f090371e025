"""Every combination of site, predictor and policy that makes sense, as the registry knows them.

A new method needs nothing here if its defaults say enough; one that can't do without arguments, or
whose defaults hardly forecast on a tiny model, gets them in `ARGUMENTS`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

from judging import CURVATURE, policy_of

from dit_accel.errors import PlanError
from dit_accel.methods.caching.cache import AXES, CacheConfig
from dit_accel.methods.registry import kinds

STEPS = 7
"""Evaluations of a run: policy `magnitude` holds a ratio for each, and Heun makes seven of four."""

COMPUTED = (0, 2, 3, 5)


def _histories(step: int) -> Iterator[tuple[int, ...]]:
    for newest in range(step):
        yield (newest,)
        yield from ((newest, older) for older in range(newest))


TABLE = [
    {"step": step, "after": after, "weights": (1.2, -0.3)[: len(after)], "input": 0.1}
    for step in range(1, STEPS + 1)
    for after in _histories(step)
]
"""Weights for whatever was computed last, as no calibration would write them."""


def multistep_table(steps: int, computed: Sequence[int]) -> list[dict[str, Any]]:
    """Scalars for a run that has both guidance rows wherever it computes."""
    rows = []
    for step in range(steps):
        known = [at for at in reversed(computed) if at <= step]
        conditional, differences = known[:3], known[:2]
        weights = [0.9, 0.2, -0.1][: len(conditional)] + [0.4, 0.1][: len(differences)] + [0.05]
        row = {"conditional": conditional, "differences": differences}
        rows.append({"step": step, "factors": (1.0, -0.5), "low": weights, "high": weights} | row)
    return rows


ARGUMENTS: dict[tuple[str, str], dict[str, Any]] = {
    ("predictor", "calibrated"): {"table": TABLE},
    ("predictor", "multistep"): {"table": multistep_table(STEPS + 1, COMPUTED)},
    ("predictor", "curvature"): CURVATURE,
    ("policy", "list"): {"compute": COMPUTED},
    ("policy", "calibrated"): {"compute": COMPUTED},
    ("policy", "block_profile"): {"compute": [COMPUTED]},
    ("policy", "magnitude"): {"ratios": [1.0] * STEPS, "max_skips": 2},
    ("policy", "first_block"): {"threshold": 0.7},
    ("policy", "verify"): {"base": 1.3, "decay": 0.7, "minimum": 0},
    ("policy", "easy"): {"threshold": 1.0, "retention": 0.0},
    ("policy", "input_change"): {"threshold": 0.4},
    ("policy", "curvature"): policy_of("curvature"),
    ("policy", "token_importance"): {"share": 0.3},
    ("policy", "token_cluster"): {"clusters": 5, "interval": 3},
}


def fitted_plan(cache: dict[str, Any]) -> dict[str, Any]:
    """A plan with numbers that are said to be fitted, and that takes any model and any run."""
    origin = {
        "model": "none",
        "weights": [],
        "scheduler": "none",
        "num_inference_steps": STEPS,
        "guidance_scale": 2.0,
        "check": False,
    }
    return {"cache": cache, "calibration": origin}


class Combination(NamedTuple):
    """The names of the three axes."""

    site: str
    predictor: str
    policy: str

    @property
    def plan(self) -> dict[str, Any]:
        """A plan with this cache alone; a fitted one takes any model."""
        cache = {
            axis: {"kind": kind} | ARGUMENTS.get((axis, kind), {})
            for axis, kind in zip(AXES, self, strict=True)
        }
        return fitted_plan(cache) if "calibrated" in self else {"cache": cache}

    def __str__(self) -> str:
        return "/".join(self)


@functools.cache
def all_combinations() -> tuple[Combination, ...]:
    """Those that a plan accepts."""
    named = (Combination(*names) for names in product(*(kinds(axis) for axis in AXES)))
    return tuple(combination for combination in named if _is_accepted(combination))


def _is_accepted(combination: Combination) -> bool:
    try:
        CacheConfig(**combination.plan["cache"])
    except PlanError:
        return False
    return True


def enough_combinations(seed: int) -> list[Combination]:
    """Few combinations that hold every site, every predictor and every policy.

    Args:
        seed: another one pairs them otherwise.
    """
    candidates = list(all_combinations())
    candidates = candidates[seed % len(candidates) :] + candidates[: seed % len(candidates)]
    missing = {pair for combination in candidates for pair in zip(AXES, combination, strict=True)}
    chosen = []
    while missing:
        best = max(candidates, key=lambda each: len(missing & set(zip(AXES, each, strict=True))))
        missing -= set(zip(AXES, best, strict=True))
        chosen.append(best)
    return chosen
