"""Policies that know the step alone, against their rules by hand."""

from __future__ import annotations

from dit_accel.forecast.decisions.magnitude import magnitude_mask
from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.plan import Plan
from dit_accel.program import action_table


def computed(policy: object, num_steps: int) -> list[int]:
    plan = Plan(cache=CacheConfig(policy=policy))
    return [step for step, (a,) in enumerate(action_table(plan, num_steps)) if a == "compute"]


def test_a_list_computes_what_it_lists() -> None:
    assert computed({"kind": "list", "compute": [0, 1, 5]}, 8) == [0, 1, 5]
    assert computed({"kind": "list", "compute": [0]}, 3) == [0]


def test_magnitude_follows_its_ratios() -> None:
    ratios = [1.0, 1.5, 1.01, 1.01, 0.99, 1.02, 1.3, 1.0, 1.0, 1.0, 1.0, 1.0]
    policy = {"kind": "magnitude", "ratios": ratios, "threshold": 0.06, "max_skips": 3}
    expected = magnitude_mask(ratios, 0.06, 3, 0.2)
    found = computed(policy, len(ratios))
    assert found == [step for step, needed in enumerate(expected) if needed]
    assert 0 < len(found) < len(ratios)
