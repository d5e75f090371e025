"""Density segments fitted in closed form on a few dense runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import FAMILIES, TinyFamily, every_family

import dit_accel
from dit_accel.calibration.density import Call, calibrate_density, recorded_calls
from dit_accel.errors import DitAccelError, UnsupportedError
from dit_accel.learned_parts import learned_parts

GRIDS = {"schedule": "steps", "values": [[2, 4], [4, 4], [8, 8]], "at": [0.4, 0.8]}
PLAN: dict[str, Any] = {
    "density": {
        "kind": "sparse",
        "grid": GRIDS,
        "layout": {"bottom": 1, "segments": 2, "group": [1, 1, 0, 0]},
    }
}


def dense_runs(family: TinyFamily, transformer: Any) -> list[list[Call]]:
    runs = []
    for samples in ((1, 2), (3, 4), (5, 6)):
        with recorded_calls(transformer) as calls:
            family.denoise(transformer, samples, steps=6)
        runs.append(list(calls))
    return runs


@torch.no_grad()
def outputs(transformer: Any, runs: list[list[Call]]) -> torch.Tensor:
    found = []
    for calls in runs:
        with dit_accel.run(transformer, len(calls)):
            found += [transformer(**call).sample for call in calls]
    return torch.stack(found)


def without_detail(plan: dict[str, Any]) -> dict[str, Any]:
    return {"density": plan["density"] | {"detail": False}}


@every_family
@pytest.mark.parametrize(
    ("plan", "share"), [(PLAN, 0.95), (without_detail(PLAN), 0.98)], ids=["detail", "no_detail"]
)
def test_it_brings_each_segment_nearer_and_with_it_the_output(
    family: TinyFamily, plan: dict[str, Any], share: float
) -> None:
    transformer = family.transformer(5)
    runs = dense_runs(family, transformer)
    stock = outputs(transformer, runs)
    dit_accel.accelerate(transformer, plan)
    before = outputs(transformer, runs)
    fits = calibrate_density(transformer, runs)
    assert len(fits) == 2 and all(fit.after < fit.before for fit in fits)
    after = outputs(transformer, runs)
    assert (after - stock).norm() < share * (before - stock).norm()
    assert torch.equal(after[-1], stock[-1])  # a dense step stays dense


def test_a_very_strong_ridge_leaves_the_form_as_it_was() -> None:
    family = FAMILIES["dit"]
    transformer = family.transformer(5, torch.float64)
    runs = dense_runs(family, transformer)[:1]
    dit_accel.accelerate(transformer, PLAN)
    fresh = {name: value.clone() for name, value in learned_parts(transformer).state_dict().items()}
    calibrate_density(transformer, runs, ridge=1e12)
    for name, value in learned_parts(transformer).state_dict().items():
        torch.testing.assert_close(value, fresh[name], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"density": {"kind": "pooled", "pool": 2}}, "kind: sparse, form: delta"),
        ({"density": {"kind": "sparse", "pool": 2, "form": "paper"}}, "form: delta"),
        (PLAN | {"cache": {"policy": {"kind": "interval", "interval": 2}}}, "without its cache"),
        ({"density": {"kind": "sparse", "grid": [8, 8]}}, "nothing to fit"),
    ],
)
def test_other_plans_are_refused(plan: dict[str, Any], message: str) -> None:
    family = FAMILIES["dit"]
    transformer = family.transformer(5)
    with recorded_calls(transformer) as calls:
        family.denoise(transformer, (1,), steps=2)
    dit_accel.accelerate(transformer, plan)
    with pytest.raises(UnsupportedError, match=message):
        calibrate_density(transformer, [calls])


def test_the_step_of_what_is_no_number_is_named() -> None:
    family = FAMILIES["dit"]
    transformer = family.transformer(5)
    runs = dense_runs(family, transformer)
    runs[1][3]["hidden_states"][0, 0, 0, 0] = float("nan")
    dit_accel.accelerate(transformer, PLAN)
    with pytest.raises(DitAccelError, match=r"trajectories: in number 1, step 3: .*NaN.*bfloat16"):
        calibrate_density(transformer, runs)
