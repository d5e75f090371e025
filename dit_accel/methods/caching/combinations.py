"""Which site goes with which policy, as far as that follows from what they are."""

from __future__ import annotations

from dit_accel.methods.caching.policies.policy import Policy
from dit_accel.methods.caching.sites.site import Site


def reason_against(site: Site, policy: Policy) -> str | None:
    """Why the two make no sense together, with the remedy; `None` where they do."""
    if site.method == "tokens":
        return None if policy.chooses_tokens else _without_tokens(policy)
    if policy.chooses_tokens:
        return (
            f"{policy.method} chooses tokens, and site {site.method} leaves out whole modules,"
            " blocks or rows; use site tokens"
        )
    if site.is_output and policy.method != "calibrated":
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
