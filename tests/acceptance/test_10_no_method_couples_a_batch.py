"""Acceptance 10: whatever the method, an image does not depend on those beside it.

A cache that decides by the mean over the batch makes image i a function of its batch-mates. Here
every registered method and every shipped preset is run on a sample alone and in a batch, through
``generate``; in float64, where no decision lies within rounding of its threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from combinations import Combination, fitted_plan
from judging import JUDGING
from plans import PLANS
from saved_pipelines import save_tiny_dit
from saved_text_pipelines import save_tiny_pixart
from tiny_models import decisions

import dit_accel
from dit_accel.methods.caching.cache import AXES, CacheConfig
from dit_accel.methods.registry import SELECTORS, kinds
from dit_accel.plan import Plan
from dit_accel.presets import preset_names
from dit_accel.sampling.generate import generate
from dit_accel.sampling.loading import load_pipeline
from dit_accel.sampling.specs import SampleSpec

SPECS = {
    "dit": [SampleSpec(i, 40 + i, class_label=i) for i in range(3)],
    "pixart": [
        SampleSpec(i, 40 + i, prompt=prompt)
        for i, prompt in enumerate(["a cat on a moon", "", "rocket"])
    ],
}
SAVE = {"dit": save_tiny_dit, "pixart": lambda folder: save_tiny_pixart(folder, num_layers=4)}
STEPS = 8
MAGNITUDE = {"kind": "magnitude", "ratios": [1.0] * STEPS, "max_skips": 1}
LISTED = {"kind": "calibrated", "compute": [0, 2, 5]}
CANDIDATES: dict[str, Any] = {
    **PLANS,
    **{name: name for name in preset_names()},
    **{
        f"{kind} forecast": Combination("model", kind, "interval").plan
        for kind in kinds("predictor")
        if kind != "multistep"
    },
    "fitted outputs": Combination("output", "multistep", "calibrated").plan,
    "magnitude": {"cache": {"policy": MAGNITUDE}},
    "calibrated steps": fitted_plan({"policy": LISTED}),
    **JUDGING,
}

TO_TEXT = Combination("cross_attention", "taylor", "interval").plan
"""Where there is text to attend to."""


@dataclass(frozen=True)
class Model:
    """A tiny pipeline in float64, and three images to make with it."""

    pipe: Any
    specs: list[SampleSpec]

    def images(self, specs: list[SampleSpec]) -> np.ndarray:
        samples = generate(
            self.pipe, specs, num_inference_steps=STEPS, guidance_scale=2.0, batch_size=3
        )
        return np.stack([sample.image for sample in samples]).astype(int)


@pytest.fixture(scope="module", params=SPECS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = SAVE[request.param](tmp_path_factory.mktemp(request.param))
    pipe = load_pipeline(str(folder), "float32", "cpu").to(torch.float64)
    return Model(pipe, SPECS[request.param])


def assert_independent(model: Model, plan: Any) -> None:
    with dit_accel.accelerated(model.pipe, plan):
        together = model.images(model.specs)
        for place, spec in enumerate(model.specs):
            assert np.abs(model.images([spec])[0] - together[place]).max() <= 1


@pytest.mark.parametrize("name", CANDIDATES)
def test_alone_and_in_a_batch(model: Model, name: str) -> None:
    assert_independent(model, CANDIDATES[name])


@pytest.mark.parametrize("model", ["pixart"], indirect=True)
def test_alone_and_in_a_batch_where_texts_are_read(model: Model) -> None:
    assert_independent(model, TO_TEXT)


def test_samples_that_decide_differently_decide_for_themselves(model: Model) -> None:
    plan = {"cache": {"policy": {"kind": "first_block", "threshold": 0.25}}}
    with dit_accel.accelerated(model.pipe, plan):
        model.images(model.specs)
        needed = decisions(model.pipe)
        assert any(len(set(step)) == 2 for step in needed)  # else it says little
    assert_independent(model, plan)


def test_every_registered_method_is_among_the_candidates() -> None:
    plans = [Plan.load(candidate) for candidate in [*CANDIDATES.values(), TO_TEXT]]
    configs = [config for plan in plans for config in plan.methods.values()]
    caches = [config for config in configs if isinstance(config, CacheConfig)]
    axes = [getattr(cache, axis) for cache in caches for axis in AXES]
    methods = [config for config in configs if not isinstance(config, CacheConfig)]
    tested = {(config.family, config.method) for config in [*methods, *axes]}
    assert tested == {(family, kind) for family in SELECTORS for kind in kinds(family)}
