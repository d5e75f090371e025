"""Plans that ship: where they are found, and that published ones are what was published.

Numbers are those of the papers and releases. Steps are written as the releases draw them, `F` for
one that is computed.
"""

from __future__ import annotations

from typing import Any

import pytest
from diffusers.hooks.mag_cache import FLUX_MAG_RATIOS

from dit_accel import Plan, presets
from dit_accel.forecast.decisions.static_masks import interval_mask, toca_mask
from dit_accel.forecast.decisions.verify import verification_threshold
from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.presets import is_preset, preset_names, preset_path, published_names
from dit_accel.program import action_table

PUBLISHED = [
    "clusca",
    "duca",
    "fastercache_guidance",
    "first_block_cache",
    "fora",
    "hicache",
    "magcache",
    "smoothcache",
    "speca",
    "taylorseer",
    "teacache",
    "toca",
    "worldcache",
]


def drawn(plan: Plan, num_steps: int = 50, cache: int = 0) -> str:
    actions = [each[cache] for each in action_table(plan, num_steps)]
    return "".join({"compute": "F", "forecast": ".", "decide": "?"}[action] for action in actions)


def draw(mask: tuple[bool, ...]) -> str:
    return "".join(".F"[computed] for computed in mask)


def published(name: str) -> tuple[Plan, CacheConfig]:
    plan = Plan.load(name)
    return plan, plan.cache[0]


def settings(config: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(config, name) for name in names}


# --- names ---------------------------------------------------------------------------------------


def test_every_paper_has_its_preset() -> None:
    assert list(published_names()) == PUBLISHED


def test_ours_are_apart_from_those_of_papers() -> None:
    """What walks over the shipped plans by default, such as `bench`, means ours."""
    assert {"quality", "balanced", "fast", "exact"} <= set(preset_names())
    assert not set(preset_names()) & set(published_names())
    assert all(is_preset(name) for name in (*preset_names(), *published_names()))
    assert not is_preset("published/fora")


def test_both_folders_are_looked_in(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "config_folder", lambda name: tmp_path / name)
    assert preset_names() == published_names() == ()
    (tmp_path / "plans" / "published").mkdir(parents=True)
    for name in ("plans/mine", "plans/published/theirs"):
        (tmp_path / f"{name}.yaml").write_text("seed: 1")
    assert (preset_names(), published_names()) == (("mine",), ("theirs",))
    assert preset_path("theirs") == tmp_path / "plans" / "published" / "theirs.yaml"
    with pytest.raises(ValueError, match=r"did you mean 'theirs'\?") as raised:
        preset_path("theirss")
    assert "mine, theirs" in str(raised.value)


def test_a_plan_with_a_shipped_adapter_is_of_its_model_alone(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What walks over presets on any model, tests among it, never meets it."""
    monkeypatch.setattr(presets, "config_folder", lambda name: tmp_path / name)
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans/mine.yaml").write_text("seed: 1")
    (tmp_path / "plans/adapted.yaml").write_text("adapter: dit-photos/density")
    assert preset_names() == preset_names("pixart-photos") == ("mine",)
    assert (
        preset_names("dit-photos")
        == preset_names("some/where/dit-photos/")
        == (
            "adapted",
            "mine",
        )
    )
    assert is_preset("adapted") and Plan.load("adapted").adapter == "dit-photos/density"
    with pytest.raises(ValueError, match="did you mean 'adapted'"):
        preset_path("adaptd")


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_sites_are_those_of_the_paper(name: str) -> None:
    plan = Plan.load(name)
    modules = ("fora", "taylorseer", "hicache", "smoothcache")
    special = {**dict.fromkeys(("toca", "duca", "clusca"), ("tokens",))}
    special |= {**dict.fromkeys(modules, ("attention", "feed_forward"))}
    special["fastercache_guidance"] = ("guidance",)
    assert tuple(cache.site.method for cache in plan.cache) == special.get(name, ("model",))
    assert len({cache.model_copy(update={"site": None}) for cache in plan.cache}) == 1
    assert plan.exact and not (plan.merge or plan.density or plan.attention)


def test_fora() -> None:
    plan, cache = published("fora")
    assert drawn(plan) == drawn(plan, cache=1) == "F.." * 16 + "FF"
    assert drawn(plan).count("F") == 18  # 50 / 18 = 2.78, the paper's 2.77
    assert cache.predictor.method == "reuse"


def test_taylorseer() -> None:
    plan, cache = published("taylorseer")
    assert drawn(plan) == drawn(plan, cache=1) == draw(interval_mask(50, 3, first=2))
    assert drawn(plan).count("F") == 18
    assert settings(cache.predictor, "kind", "order") == {"kind": "taylor", "order": 3}


def test_hicache() -> None:
    plan, cache = published("hicache")
    assert drawn(plan) == draw(interval_mask(50, 5, first=2))[:-1] + "F"
    expected = {"kind": "hermite", "order": 2, "sigma": 0.5}
    assert settings(cache.predictor, "kind", "order", "sigma") == expected


def test_first_block_cache_and_teacache() -> None:
    for name, threshold in (("first_block_cache", 0.05), ("teacache", 0.1)):
        plan, cache = published(name)
        policy: Any = cache.policy
        assert cache.predictor.method == "reuse" and policy.threshold.scalar(0.5) == threshold
        assert drawn(plan)[:49] == "F" + "?" * 48


def test_magcache() -> None:
    """Its setting, with FLUX's ratios, gives the release's steps (without the guarded one)."""
    plan, cache = published("magcache")
    expected = {"threshold": 0.24, "max_skips": 5, "retention": 0.1}
    assert settings(cache.policy, *expected) == expected
    flux = tuple(FLUX_MAG_RATIOS.tolist())
    policy = cache.policy.model_copy(update={"ratios": flux})
    on_flux = Plan(cache=cache.model_copy(update={"policy": policy}))
    assert drawn(on_flux, 28) == "FFF..F...F.....F.....F....F."
    assert drawn(plan)[:5] == "FFFFF" and 5 < drawn(plan).count("F") < 25


def test_smoothcache() -> None:
    """The schedule that the release ships for 50 steps at alpha 0.18."""
    plan, _ = published("smoothcache")
    assert drawn(plan) == drawn(plan, cache=1) == "F...F..F.." + "F." * 19 + "FF"
    assert drawn(plan).count("F") == 24
    assert drawn(plan, 20) == "F" + "." + "F" * 18  # gaps are as long in time, so hardly any


@pytest.mark.parametrize(("name", "share"), [("toca", 0.07), ("duca", 0.05)])
def test_toca_and_duca(name: str, share: float) -> None:
    plan, cache = published(name)
    assert drawn(plan) == draw(toca_mask(50, 3))
    expected = {
        "share": share,
        "interval": 3,
        "alternate": name == "duca",
        "staleness": 0.25,
        "bonus": 0.6,
        "step_weight": 2.0,
        "layer_weight": -0.2,
    }
    assert settings(cache.policy, *expected) == expected


def test_clusca() -> None:
    plan, cache = published("clusca")
    assert settings(cache.predictor, "kind", "order") == {"kind": "taylor", "order": 4}
    assert settings(cache.policy, "clusters", "blend") == {"clusters": 16, "blend": 0.005}
    assert drawn(plan) == "F..." * 12 + "FF"


def test_speca() -> None:
    plan, cache = published("speca")
    policy: Any = cache.policy
    assert settings(cache.predictor, "kind", "order") == {"kind": "taylor", "order": 4}
    assert settings(policy, "minimum", "maximum") == {"minimum": 3, "maximum": 8}
    assert drawn(plan) == "FFF" + "?" * 46 + "F"
    found = [
        verification_threshold(progress, policy.base, policy.decay, policy.floor)
        for progress in (0.0, 0.5, 1.0)
    ]
    assert found == pytest.approx([0.3, 0.0671, 0.015], abs=1e-4)


def test_worldcache() -> None:
    plan, cache = published("worldcache")
    policy: Any = cache.policy
    expected = {"stable": 0.2, "chaotic": 0.8, "max_skips": 2}
    assert settings(cache.predictor, *expected) == expected
    assert settings(policy, "chaotic", "max_skips") == {"chaotic": 0.8, "max_skips": 2}
    assert policy.threshold.scalar(0.5) == 0.2
    assert drawn(plan) == "F" * 10 + "?" * 39 + "F"


def test_fastercache_guidance() -> None:
    """Refreshed at every fifth step from timestep 641 on: `999 - 20 i` with trailing spacing."""
    plan, _ = published("fastercache_guidance")
    begins = next(step for step in range(50) if 999 - 20 * step < 641)
    assert drawn(plan)[:begins] == "F" * begins
    assert drawn(plan)[begins:] == "....F" * 6 + ".F"
