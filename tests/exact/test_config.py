"""The key `exact` of a plan."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from dit_accel import Plan, PlanError
from dit_accel.exact.config import Exact

ALL = {"modulations", "text_keys_values", "guidance_rows", "fused_projections", "channels_last"}


def test_true_is_everything_that_needs_no_compiler() -> None:
    plan = Plan(exact=True)
    assert isinstance(plan.exact, Exact) and set(plan.exact.names) == ALL
    assert not plan.is_empty and not plan.methods
    assert plan.to_dict() == {"exact": True}


def test_off_is_the_empty_plan() -> None:
    off = dict.fromkeys(Exact.model_fields, False)
    assert Plan(exact=off) == Plan(exact=False) == Plan()
    assert Plan(exact=off).is_empty


@pytest.mark.parametrize(
    "text",
    ["exact: true", "exact: {compile: true}", "exact: {modulations: false, compile: true}", "{}"],
)
def test_round_trips(text: str) -> None:
    plan = Plan.from_yaml(text)
    again = Plan.from_yaml(plan.to_yaml())
    assert again == plan and again.fingerprint == plan.fingerprint
    assert plan.to_dict() == yaml.safe_load(text)


def test_fingerprints_tell_rewrites_apart() -> None:
    plans = [Plan(), Plan(exact=True), Plan(exact={"compile": True}), Plan(exact={})]
    prints = [plan.fingerprint for plan in plans]
    assert len(set(prints)) == 3 and prints[1] == prints[3]


def test_the_presets_have_it_on_and_one_has_nothing_else() -> None:
    assert Plan.load("exact") == Plan(exact=True)
    for name in ("quality", "balanced", "fast"):
        assert Plan.load(name).exact == Exact()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"compil": True}, ["exact.compil: unknown key", "did you mean 'compile'?"]),
        ({"compile": 1}, ["exact.compile: got 1, expected true or false"]),
        (1, ["exact: got 1, expected true or false, or a mapping", "write exact: true"]),
        ("yes", ['exact: got "yes"', "name some of: modulations, text_keys_values"]),
    ],
)
def test_what_is_refused(value: Any, words: list[str]) -> None:
    with pytest.raises(PlanError) as caught:
        Plan(exact=value)
    assert all(word in str(caught.value) for word in words), str(caught.value)
