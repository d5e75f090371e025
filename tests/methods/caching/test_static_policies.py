"""Policies that know the step alone, against their rules by hand."""

from __future__ import annotations

from dit_accel.forecast.decisions.magnitude import magnitude_mask, resampled_ratios
from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.plan import Plan
from dit_accel.program import action_table


def computed(policy: object, num_steps: int, site: str = "model") -> list[int]:
    plan = Plan(cache=CacheConfig(policy=policy, site=site))
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


def test_magnitude_takes_the_nearest_ratios_in_a_run_of_another_length() -> None:
    ratios = [1.0, 1.5, 1.01, 1.01, 0.99, 1.02, 1.3, 1.0, 1.0, 1.0, 1.0, 1.0]
    policy = {"kind": "magnitude", "ratios": ratios, "threshold": 0.06, "max_skips": 3}
    for num_steps in (1, 2, 7, 30):
        expected = magnitude_mask(resampled_ratios(ratios, num_steps), 0.06, 3, 0.2)
        assert computed(policy, num_steps) == [i for i, needed in enumerate(expected) if needed]
    config = CacheConfig(policy=policy).policy
    assert config.action(len(ratios), 3, 0.5, None) == "compute"  # of unknown length


def test_a_profile_computes_the_nearest_steps_in_a_run_of_another_length() -> None:
    policy = {"kind": "block_profile", "compute": [[0, 4, 9], [0, 2, 9]], "num_steps": 10}
    assert computed(policy, 10, "attention") == [0, 2, 4, 9]
    assert computed(policy, 19, "attention") == [0, 4, 8, 18]
    assert computed(policy, 4, "attention") == [0, 1, 3]
    assert computed(policy, 1, "attention") == [0]
    groups = CacheConfig(policy=policy, site="block").policy.by_layer([5, 6])
    assert [layers for layers, _ in groups] == [(5,), (6,)]
    assert groups[0][1].action(8, 0, 0.5, 19) == "compute"
    assert groups[1][1].action(8, 0, 0.5, 19) == "forecast"
    assert groups[0][1].action(4, 0, 0.5, None) == "compute"  # unknown length: as they stand
