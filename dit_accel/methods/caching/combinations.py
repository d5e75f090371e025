"""What goes with what in a cache, and which caches beside each other, as far as that follows from
what they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dit_accel.methods.caching.policies.policy import Policy
from dit_accel.methods.caching.sites.site import Site

if TYPE_CHECKING:
    from dit_accel.methods.caching.cache import CacheConfig


def reason_against(site: Site, policy: Policy) -> str | None:
    """Why the two make no sense together, with the remedy; `None` where they do."""
    if site.method == "tokens":
        return None if policy.chooses_tokens else _without_tokens(policy)
    if policy.chooses_tokens:
        return (
            f"{policy.method} chooses tokens, and site {site.method} leaves out whole modules,"
            " blocks or rows; use site tokens"
        )
    if site.is_output and not policy.is_fitted:
        return (
            f"site output has scalars for the steps that it was fitted with, and {policy.method}"
            " chooses others; use policy calibrated, as dit_accel.calibrate writes it"
        )
    if site.modules and policy.looks_at != "nothing":
        return (
            f"{policy.method} decides sample by sample in front of whole blocks, and site"
            f" {site.method} leaves out modules inside of all of them; use policy interval, list,"
            " magnitude or block_profile, or site deep"
        )
    return policy.works_at(site)


def _without_tokens(policy: Policy) -> str:
    return (
        f"site tokens computes some tokens between two full steps, and {policy.method} chooses"
        " none; use policy token_importance or token_cluster, or two caches at the sites attention"
        " and feed_forward"
    )


def reason_against_guard(site: Site, policy: Policy) -> str | None:
    """Why a guard with a factor can't watch over the two; `None` where it can."""
    if site.is_guidance:
        return (
            "at site guidance the rows have been left out before a forecast is judged; remove guard"
        )
    if site.is_output:
        return "at site output every output is a fitted sum, which is not judged; remove guard"
    if site.modules or policy.method == "block_profile":
        return (
            "the forecasts of all layers would have to be held until they are judged together;"
            " remove guard, or use site model or deep with another policy"
        )
    return None


def crowded_caches(caches: Sequence[CacheConfig]) -> list[str]:
    """What stands against the caches of a list beside each other, on any model."""
    problems = []
    if sum(cache.site.is_guidance for cache in caches) > 1:
        problems.append("cache: two caches at site guidance; remove one of them")
    if sum(cache.per_sample for cache in caches) > 1:
        problems.append(
            "cache: two policies that look at the data, expected at most one, because each"
            " waits for the device once a step; use policy interval or list in all but one"
        )
    if any(cache.site.is_output for cache in caches) and not _only_guidance_beside(caches):
        problems.append(
            "cache: beside site output only site guidance works, because whole calls of the"
            " transformer are left out; remove the others"
        )
    whole = [cache for cache in caches if cache.site.method in ("model", "block")]
    if whole and sum(not cache.site.is_guidance for cache in caches) > 1:
        problems.append(
            f"cache: site {whole[0].site.method} remembers all blocks, so there are none left"
            " for another cache; use site deep with first and last, or remove one of them"
        )
    return problems


def _only_guidance_beside(caches: Sequence[CacheConfig]) -> bool:
    """Whether all but one of the caches, at site `output`, are at site `guidance`."""
    others = [cache.site for cache in caches if not cache.site.is_output]
    return len(caches) - len(others) == 1 and all(site.is_guidance for site in others)
