"""Spec i: its seed and condition, made when it is asked for."""

from __future__ import annotations

import pickle

import pytest

from dit_accel.sampling.conditions import Conditions, Cycled
from dit_accel.sampling.conditions.labels import UniformLabels
from dit_accel.sampling.specs import SampleSpec, Specs


def test_seed_and_condition_of_every_image() -> None:
    specs = Specs(Conditions(Cycled([4, 7], 5), {}), seed=10)
    assert list(specs) == [
        SampleSpec(i, 10 + i, class_label=label) for i, label in enumerate([4, 7, 4, 7, 4])
    ]
    prompts = Specs(Conditions(["", "a cat"], {}), seed=0)
    assert list(prompts) == [SampleSpec(0, 0, prompt=""), SampleSpec(1, 1, prompt="a cat")]


def test_it_is_a_sequence() -> None:
    specs = Specs(Conditions(Cycled([1], 6), {}), seed=0)
    assert len(specs) == 6
    assert specs[-1] == specs[5] and specs[1:3] == [specs[1], specs[2]]
    assert [spec.index for spec in specs[::-2]] == [5, 3, 1]
    assert specs[2] in specs and specs.index(specs[2]) == 2
    for index in (6, -7):
        with pytest.raises(IndexError):
            specs[index]


def test_nothing_is_made_before_it_is_asked_for() -> None:
    specs = Specs(Conditions(UniformLabels(range(1000), 0, 10**12), {}), seed=0)
    assert len(specs) == 10**12
    assert specs[10**12 - 1].seed == 10**12 - 1


def test_it_travels_to_another_process() -> None:
    specs = Specs(Conditions(UniformLabels(range(1000), 3, 50_000), {"kind": "labels"}), seed=3)
    copy = pickle.loads(pickle.dumps(specs))
    assert copy[:100] == specs[:100] and len(pickle.dumps(specs)) < 10_000
