"""Presets really run, those with a paper's setting and ours, and leave nothing behind.

The models are random, so the run is a calm one: a solver whose steps are close together and, for
PixArt, less of the timestep, else thresholds of published methods are never met.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import FAMILIES, SIDE, TEXT_LENGTH, TinyFamily, calls_of, ddim
from torch import Tensor

import dit_accel
from dit_accel import Plan
from dit_accel.install import installation_of
from dit_accel.measure.architectures import Architecture, load_architecture
from dit_accel.measure.explain import explain
from dit_accel.measure.plan_macs import Workload
from dit_accel.presets import preset_names, published_names

SAMPLES = (1, 2)
# Of the schedule that SmoothCache ships for 50 steps, nothing is left to skip in 16.
STEPS = {name: 16 for name in published_names()} | {"smoothcache": 20, "toca": 10, "duca": 10}
CALM = {"num_train_timesteps": 20, "beta_end": 0.002}


def calm_pipeline(family: TinyFamily) -> Any:
    pipe = family.pipeline(ddim(**CALM))
    modulation = getattr(pipe.transformer, "adaln_single", None)
    if modulation is not None:
        modulation.linear.weight.data.mul_(0.1)
    return pipe


def latents(family: TinyFamily, pipe: Any, steps: int) -> Tensor:
    return family.generate(pipe, SAMPLES, steps=steps)


@pytest.fixture(scope="module", params=["dit", "alpha"])
def family(request: pytest.FixtureRequest) -> TinyFamily:
    return FAMILIES[request.param]


@pytest.fixture(scope="module")
def pipe(family: TinyFamily) -> Any:
    return calm_pipeline(family)


@pytest.fixture(scope="module")
def dense(family: TinyFamily, pipe: Any) -> dict[int, Tensor]:
    return {steps: latents(family, pipe, steps) for steps in set(STEPS.values())}


def computed_share(pipe: Any) -> float:
    """Of what the caches remember, the mean over all calls."""
    shares = [site.needed_share for call in calls_of(pipe) for site in call.sites]
    return sum(shares) / len(shares)


@pytest.mark.parametrize("name", published_names())
def test_it_forecasts_and_leaves_no_trace(
    family: TinyFamily, pipe: Any, dense: dict[int, Tensor], name: str
) -> None:
    steps = STEPS[name]
    modules = {key: type(module) for key, module in pipe.transformer.named_modules()}
    with dit_accel.accelerated(pipe, name):
        first = latents(family, pipe, steps)
        assert 0.0 < computed_share(pipe) < 1.0
        if family.condition_first:  # counting MACs takes longer than the run
            counted = dit_accel.summary(pipe)
            assert counted.steps == steps and counted.computed < 1.0
            assert counted.macs is not None and counted.macs_dense is not None
            assert 0 < counted.macs < counted.macs_dense
            computed = [count for cache in counted.caches for count in cache.sample_steps]
            assert computed and max(computed) < steps
        assert torch.equal(latents(family, pipe, steps), first)
    assert first.isfinite().all()
    difference = (first - dense[steps]).norm() / dense[steps].norm()
    assert 1e-6 < difference < 0.2
    assert installation_of(pipe) is None
    assert {key: type(module) for key, module in pipe.transformer.named_modules()} == modules
    assert torch.equal(latents(family, pipe, steps), dense[steps])


@pytest.mark.parametrize("name", preset_names())
def test_ours_leave_no_trace(
    family: TinyFamily, pipe: Any, dense: dict[int, Tensor], name: str
) -> None:
    with dit_accel.accelerated(pipe, name):
        first = latents(family, pipe, 16)
        assert torch.equal(latents(family, pipe, 16), first)
    assert first.isfinite().all()
    assert torch.equal(latents(family, pipe, 16), dense[16])


@pytest.fixture(scope="module")
def architecture(tmp_path_factory: pytest.TempPathFactory) -> Architecture:
    folder = tmp_path_factory.mktemp("tiny_pixart")
    FAMILIES["alpha"].transformer().save_config(folder)
    return load_architecture(folder / "config.json")


@pytest.mark.parametrize("name", [*published_names(), "quality", "balanced", "fast", "exact"])
def test_it_is_explained(architecture: Architecture, name: str) -> None:
    workload = Workload(6, 1, True, (SIDE, SIDE), TEXT_LENGTH)
    found = explain(architecture, Plan.load(name), workload)
    assert len(found.caches) == len(found.plan.cache)
    assert (found.cache_bytes > 0) == bool(found.plan.cache)
    assert found.cost.macs_plan_lower < found.cost.macs_dense
