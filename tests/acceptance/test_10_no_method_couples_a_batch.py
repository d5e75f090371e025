"""Acceptance 10: whatever the method, an image does not depend on those beside it.

A cache that decides by the mean over the batch makes image i a function of its batch-mates. Here
every registered method and every shipped preset is run on a sample alone and in a batch, through
``generate``; in float64, where no decision lies within rounding of its threshold.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from saved_pipelines import save_tiny_dit
from tiny_models import PLANS, decisions

import dit_accel
from dit_accel.methods.registry import SELECTORS, kinds
from dit_accel.plan import Plan
from dit_accel.presets import preset_names
from dit_accel.sampling.generate import generate
from dit_accel.sampling.loading import load_pipeline
from dit_accel.sampling.specs import SampleSpec

SPECS = [SampleSpec(i, 40 + i, class_label=i) for i in range(3)]
STEPS = 8
CANDIDATES: dict[str, Any] = {**PLANS, **{name: name for name in preset_names()}}


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = save_tiny_dit(tmp_path_factory.mktemp("tiny_dit"))
    return load_pipeline(str(folder), "float32", "cpu").to(torch.float64)


def images(pipe: Any, specs: list[SampleSpec]) -> np.ndarray:
    samples = generate(pipe, specs, num_inference_steps=STEPS, guidance_scale=2.0, batch_size=3)
    return np.stack([sample.image for sample in samples]).astype(int)


def assert_independent(pipe: Any, plan: Any) -> None:
    with dit_accel.accelerated(pipe, plan):
        together = images(pipe, SPECS)
        for place, spec in enumerate(SPECS):
            assert np.abs(images(pipe, [spec])[0] - together[place]).max() <= 1


@pytest.mark.parametrize("name", CANDIDATES)
def test_alone_and_in_a_batch(pipe: Any, name: str) -> None:
    assert_independent(pipe, CANDIDATES[name])


def test_samples_that_decide_differently_decide_for_themselves(pipe: Any) -> None:
    plan = {"cache": {"policy": "first_block", "threshold": 0.25}}
    with dit_accel.accelerated(pipe, plan):
        images(pipe, SPECS)
        assert any(len(set(needed)) == 2 for needed in decisions(pipe))  # else it says little
    assert_independent(pipe, plan)


def test_every_registered_method_is_among_the_candidates() -> None:
    tested = {
        (family, config.method)
        for candidate in CANDIDATES.values()
        for family, config in Plan.load(candidate).methods.items()
    }
    assert tested == {(family, kind) for family in SELECTORS for kind in kinds(family)}
