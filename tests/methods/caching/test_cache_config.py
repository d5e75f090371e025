"""Which combinations of site, predictor and policy there are, and why others are refused."""

from __future__ import annotations

from typing import Any

import pytest

from dit_accel.errors import PlanError, UnsupportedError
from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.placement import forecast_layers, place
from dit_accel.methods.registry import find, kinds
from dit_accel.plan import Plan

FIRST_BLOCK = {"policy": "first_block"}
GUIDANCE = {"site": "guidance", "policy": "interval"}


def deep(first: int, last: int, policy: str = "interval") -> dict[str, Any]:
    return {"site": {"kind": "deep", "first": first, "last": last}, "policy": policy}


def refusal(caches: Any, num_layers: int = 8) -> str:
    with pytest.raises(PlanError) as raised:
        place(Plan.load({"cache": caches}).cache, num_layers)
    return str(raised.value)


def test_one_cache_and_a_list_of_one_are_the_same_plan() -> None:
    assert Plan.load({"cache": FIRST_BLOCK}) == Plan.load({"cache": [FIRST_BLOCK]})
    assert Plan.load({"cache": [FIRST_BLOCK]}).to_dict()["cache"]["policy"] == "first_block"


def test_a_list_is_written_back_as_a_list() -> None:
    plan = Plan.load({"cache": [deep(1, -1), GUIDANCE]})
    assert [cache.method for cache in plan.cache] == [
        "deep/polynomial/interval",
        "guidance/polynomial/interval",
    ]
    assert Plan.from_yaml(plan.to_yaml()) == plan
    assert list(plan.methods) == ["cache[0]", "cache[1]"]


@pytest.mark.parametrize("predictor", sorted(set(kinds("predictor")) - {"multistep"}))
@pytest.mark.parametrize("site", sorted(set(kinds("site")) - {"output"}))  # those two: below
def test_every_predictor_goes_with_every_site_where_it_has_tokens(
    site: str, predictor: str
) -> None:
    policies: dict[str, Any] = {"tokens": "token_importance", "output": "calibrated"}
    policy = policies.get(site, "interval")
    document = {"site": site, "predictor": predictor, "policy": policy}
    if (site == "output") != (predictor == "multistep"):
        assert "cache.predictor: " in refusal(document)
        return
    blocks, fitted = site in ("model", "block", "deep"), predictor == "calibrated"
    if not blocks and predictor in ("curvature", "frequency"):
        assert f"cache.predictor: {predictor} looks at the tokens" in refusal(document)
        return
    if not blocks and site != "guidance" and fitted:
        assert "cache.predictor: calibrated is fitted to residuals of blocks" in refusal(document)
        return
    cache = CacheConfig(**document)
    assert cache.predictor.snapshots >= 1


@pytest.mark.parametrize("site", kinds("site"))
@pytest.mark.parametrize("predictor", kinds("predictor"))
def test_fitted_outputs_are_for_each_other(site: str, predictor: str) -> None:
    if (site == "output") == (predictor == "multistep"):
        return
    policy = "token_importance" if site == "tokens" else "calibrated"
    document = {"site": site, "predictor": predictor, "policy": policy}
    assert f"use {'predictor multistep' if site == 'output' else 'site output'}" in refusal(
        document
    )


@pytest.mark.parametrize(
    ("caches", "parts"),
    [
        (
            {"site": "guidance", "policy": "first_block"},
            ["cache.policy: first_block decides inside", "use policy interval or list"],
        ),
        (
            deep(0, -1, "first_block"),
            ["cache.policy: first_block looks at the blocks", "first to 1"],
        ),
        ({**GUIDANCE, "guard": 4.0}, ["cache.guard: got 4.0", "remove guard"]),
        ({"policy": "interval", "guard": 0.5}, ["cache.guard: got 0.5", "at least 1"]),
        ({"policy": "interval", "guard": True}, ["cache.guard: got true", "auto, false"]),
        ([GUIDANCE, GUIDANCE], ["two caches at site guidance"]),
        ([deep(1, 3, "first_block"), deep(5, 6, "first_block")], ["at most one", "once a step"]),
        ([{"policy": "interval"}, deep(1, 2)], ["site model remembers all blocks"]),
        ([deep(1, 4), deep(4, 6)], ["cache[0] and cache[1]", "[4]", "first and last"]),
        ([deep(0, 1), deep(3, 5, "first_block")], ["cache[1]", "leaves some of them out"]),
        (deep(1, 8), ["cache.site: got", "first <= last < 8", "8 layers"]),
        (deep(5, -4), ["first <= last < 8"]),
        (deep(5, 3), ["cache.site.last: got 3", "at least first, which is 5"]),
        ({"policy": "list"}, ["cache.policy.compute: missing"]),
        ({"policy": {"kind": "list", "compute": [1, 2]}}, ["cache.policy.compute: got [1, 2]"]),
        ({"policy": {"kind": "list", "compute": [0, 2, 2]}}, ["ascending order from 0"]),
        ({"policy": {"kind": "magnitude"}}, ["cache.policy.ratios: missing"]),
        (
            {"policy": {"kind": "magnitude", "ratios": []}},
            ["cache.policy.ratios: got [], expected a list of at least 1"],
        ),
        (
            {"site": "block", "policy": {"kind": "block_profile", "compute": [0, 2]}},
            ["cache.policy.compute: got [0, 2], expected a list of steps for each", "[[0, 2]]"],
        ),
        ({"policy": None}, ["cache.policy: got null, expected a name, or a mapping"]),
        (
            {"policy": "interval", "interval": 3, "order": 2},
            [
                "cache.interval: got 3, expected it inside 'policy'",
                "write policy: {kind: interval, interval: 3}",
                "write predictor: {kind: polynomial, order: 2}",
            ],
        ),
        ({"policy": "interval", "threshold": 3}, ["cache.threshold: unknown key"]),
        ({"policy": ["interval"], "interval": 3}, ["cache.policy: got", "cache.interval: unknown"]),
        ([{"policy": "interval"}, {"policy": "nope"}], ['cache[1].policy: got "nope"']),
        ([], ["cache: got [], expected a mapping"]),
        ([3], ["cache[0]: got 3, expected a mapping"]),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(caches: Any, parts: list[str]) -> None:
    message = refusal(caches)
    for part in parts:
        assert part in message


@pytest.mark.parametrize("which", [GUIDANCE, FIRST_BLOCK, {"policy": "interval", "guard": 4}])
def test_a_kept_matching_contradicts_caches_that_change_the_rows(which: dict[str, Any]) -> None:
    document = {"cache": which, "merge": {"kind": "tome2d", "reuse_steps": 2}}
    with pytest.raises(PlanError, match=r"merge\.reuse_steps must be 1"):
        Plan.load(document)


@pytest.mark.parametrize(
    "policy",
    [{"kind": "list", "compute": [0, 7]}, {"kind": "block_profile", "compute": [[0, 7]]}],
)
def test_a_policy_for_another_number_of_steps_is_refused(policy: dict[str, Any]) -> None:
    plan = Plan.load({"cache": {"site": "block", "policy": policy}})
    plan.check_against(4)
    plan.check_against(4, 8)
    with pytest.raises(PlanError, match=r"cache: policy\.compute: got step 7, expected .* below 6"):
        plan.check_against(4, 6)


def test_a_policy_may_need_more_snapshots_than_the_predictor() -> None:
    assert CacheConfig(policy="curvature", predictor="reuse").snapshots == 3
    assert CacheConfig(policy="curvature", predictor={"kind": "taylor", "order": 4}).snapshots == 5
    assert CacheConfig(policy="interval", predictor="reuse").snapshots == 1


@pytest.mark.parametrize("kind", ["first_block", "verify"])
def test_one_block_is_too_few_where_one_is_always_computed(kind: str) -> None:
    with pytest.raises(UnsupportedError, match=r"block always, and this model has 1 block"):
        place([CacheConfig(policy=kind)], 1)
    assert place([CacheConfig(policy="easy")], 1) == [[range(0, 1)]]


def test_verify_remembers_what_the_last_block_adds_by_itself() -> None:
    cache = CacheConfig(policy="verify")
    spans = place([cache], 5)[0]
    assert spans == [range(0, 4), range(4, 5)]
    assert forecast_layers(cache, spans) == {0, 1, 2, 3}
    block = CacheConfig(site="block", policy="verify")
    assert place([block], 3) == [[range(0, 1), range(1, 2), range(2, 3)]]


def test_places() -> None:
    caches = Plan.load({"cache": [deep(1, 3, "first_block"), deep(5, -2), GUIDANCE]}).cache
    assert place(caches, 8) == [[range(1, 4)], [range(5, 7)], []]
    block = CacheConfig(site="block", policy="first_block")
    assert place([block], 4) == [[range(1, 2), range(2, 3), range(3, 4)]]


def test_the_guard_is_on_where_the_device_is_read_anyway() -> None:
    assert CacheConfig(**FIRST_BLOCK).guard_factor == 8.0
    assert CacheConfig(policy="interval").guard_factor is None
    assert CacheConfig(policy="interval", guard=3).guard_factor == 3.0
    assert CacheConfig(**FIRST_BLOCK, guard=False).guard_factor is None


def test_an_axis_of_another_kind_is_refused() -> None:
    with pytest.raises(PlanError, match=r"policy: got .*family 'policy'"):
        CacheConfig(policy=find("site", "model")())
